"""Makes the models and expected.tsv of test_decode_hf: tiny random models, Hugging Face generate() on each prompt alone.
Needs torch and transformers (made with transformers 5.23.0, torch 2.15, CPU, float32)."""
import os
import random

import torch
from transformers import LlamaConfig, LlamaForCausalLM, M2M100Config, M2M100ForConditionalGeneration
torch.set_num_threads(1)
torch.manual_seed(5)
D = os.path.dirname(os.path.abspath(__file__))
lc=LlamaConfig(vocab_size=19,hidden_size=8,intermediate_size=12,num_hidden_layers=1,num_attention_heads=2,num_key_value_heads=1,max_position_embeddings=48,initializer_range=0.7,bos_token_id=0,eos_token_id=1,pad_token_id=2,tie_word_embeddings=False)
lm=LlamaForCausalLM(lc).eval(); lm.save_pretrained(D+'/llama')
mc=M2M100Config(vocab_size=19,d_model=8,encoder_layers=1,decoder_layers=1,encoder_attention_heads=2,decoder_attention_heads=2,encoder_ffn_dim=12,decoder_ffn_dim=12,max_position_embeddings=48,init_std=0.7,bos_token_id=0,eos_token_id=1,pad_token_id=2,decoder_start_token_id=0,dropout=0.,attention_dropout=0.,activation_dropout=0.,scale_embedding=False)
mm=M2M100ForConditionalGeneration(mc).eval(); mm.save_pretrained(D+'/m2m')
print(sum(p.numel() for p in lm.parameters()), sum(p.numel() for p in mm.parameters()))
random.seed(3)
prompts=[[random.randrange(3,19) for _ in range(n)] for n in (1,3,7,4)]
cases=[]
for lp in (1.0,0.0,2.5,-0.5):
  for es in (False,True,'never'):
    for nb in (2,4,5):
      cases.append(dict(num_beams=nb,length_penalty=lp,early_stopping=es,num_return_sequences=min(3,nb) if nb>2 else 2,max_new_tokens=9))
cases+= [dict(num_beams=4,min_new_tokens=5,max_new_tokens=9,num_return_sequences=2),
 dict(num_beams=4,repetition_penalty=1.7,max_new_tokens=9,num_return_sequences=2),
 dict(num_beams=4,no_repeat_ngram_size=2,max_new_tokens=12,num_return_sequences=4),
 dict(num_beams=3,no_repeat_ngram_size=1,max_new_tokens=8,num_return_sequences=3),
 dict(num_beams=4,bad_words_ids=[[5],[7,9],[3,4],[1]],max_new_tokens=9,num_return_sequences=3),
 dict(num_beams=4,eos_token_id=[1,6,9],max_new_tokens=9,num_return_sequences=3),
 dict(num_beams=4,eos_token_id=[1,6,9],max_new_tokens=9,num_return_sequences=3,early_stopping=True),
 dict(num_beams=4,eos_token_id=[3,4,5,6,7,8],max_new_tokens=9,num_return_sequences=3,early_stopping=False),
 dict(num_beams=3,forced_bos_token_id=8,max_new_tokens=7,num_return_sequences=3),
 dict(num_beams=3,forced_eos_token_id=1,max_new_tokens=7,num_return_sequences=3),
 dict(num_beams=1,max_new_tokens=12), dict(num_beams=1,max_new_tokens=12,repetition_penalty=1.5),
 dict(num_beams=1,max_new_tokens=12,no_repeat_ngram_size=2), dict(num_beams=1,max_new_tokens=6,forced_bos_token_id=8,forced_eos_token_id=1,min_new_tokens=3),
 dict(num_beams=1,max_new_tokens=12,bad_words_ids=[[5],[7,9],[3,4]]),
]
def opt(k,v):
    if k=='bad_words_ids': return k+'='+';'.join(','.join(map(str,s)) for s in v)
    if k=='eos_token_id': return k+'='+','.join(map(str,v))
    if isinstance(v,bool) or isinstance(v,str): return k+'='+str(v).lower()
    return f'{k}={v}'
out=[]
def run(name,m,c):
    rows=[]
    for pi,p in enumerate(prompts):
      ids=torch.tensor([p])
      r=m.generate(ids,attention_mask=torch.ones_like(ids),do_sample=False,return_dict_in_generate=True,output_scores=True,**dict(c))
      eos=set(c.get('eos_token_id',[1]))
      hyps=[]
      skip=len(p) if name=='llama' else 1
      for i,s in enumerate(r.sequences.tolist()):
        g=s[skip:]
        cut=next((j+1 for j,t in enumerate(g) if t in eos),len(g)); g=g[:cut]
        sc=float(r.sequences_scores[i]) if c['num_beams']>1 else 0.0
        hyps.append(f"{','.join(map(str,g))}:{sc:.6g}")
      rows.append(hyps)
    return rows
banned=0
for name,m in (('llama',lm),('m2m',mm)):
  for ci,c in enumerate(cases):
    rows=run(name,m,c)
    if name=='m2m': # M2M100 gives pad tokens in the decoder positions of their own: keep them out of the search where they would matter
      c2=dict(c); c2['bad_words_ids']=c.get('bad_words_ids',[])+[[2]]
      r2=run(name,m,c2)
      if r2!=rows: c,rows,banned=c2,r2,banned+1
    for p,h in zip(prompts,rows):
      out.append('\t'.join([name,' '.join(opt(k,v) for k,v in c.items()),','.join(map(str,p))]+h))
open(D + '/expected.tsv','w').write('\n'.join(out)+'\n')
print(len(out),banned)
