"""bench/peers/torch_train.py - the model, batch and optimiser of bench/bench_train.c in PyTorch, for comparison only.

usage: torch_train.py [--bf16] [--size tiny|small] [--runs 5] [--steps 5]
Pre-norm encoder-decoder, sinusoidal positions, tied embeddings, dropout 0.1, label smoothing 0.1, AdamW, gradient clipping; 128 x 32 tokens a side."""
import argparse, json, math, resource, statistics, time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, LEN = 128, 32
SIZES = {"tiny": (128, 256, 4, 4, 6000), "small": (256, 1024, 4, 6, 8000)}


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, memory, causal):
        b, t, d = x.shape
        split = lambda y: y.view(b, -1, self.heads, d // self.heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(self.q(x)), split(self.k(memory)), split(self.v(memory)), is_causal=causal)
        return self.o(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, d, ff, heads, cross):
        super().__init__()
        self.n1, self.n3 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = Attention(d, heads)
        self.cross = Attention(d, heads) if cross else None
        self.n2 = nn.LayerNorm(d) if cross else None
        self.fc1, self.fc2 = nn.Linear(d, ff), nn.Linear(ff, d)

    def forward(self, x, memory=None):
        h = self.n1(x)
        x = x + F.dropout(self.attn(h, h, self.cross is not None), 0.1, self.training)
        if self.cross is not None:
            x = x + F.dropout(self.cross(self.n2(x), memory, False), 0.1, self.training)
        return x + F.dropout(self.fc2(F.relu(self.fc1(self.n3(x)))), 0.1, self.training)


class Model(nn.Module):
    def __init__(self, d, ff, heads, layers, vocab):
        super().__init__()
        self.d = d
        self.embed = nn.Embedding(vocab, d)
        nn.init.normal_(self.embed.weight, std=d ** -0.5)
        self.enc = nn.ModuleList(Block(d, ff, heads, False) for _ in range(layers))
        self.dec = nn.ModuleList(Block(d, ff, heads, True) for _ in range(layers))
        self.ne, self.nd = nn.LayerNorm(d), nn.LayerNorm(d)
        freq = torch.exp(-math.log(10000) * torch.arange(d // 2) / (d // 2 - 1))
        angle = torch.arange(LEN)[:, None] * freq[None]
        self.register_buffer("pos", torch.cat([angle.sin(), angle.cos()], 1))

    def rows(self, ids):
        return F.dropout(self.embed(ids) * math.sqrt(self.d) + self.pos[: ids.shape[1]], 0.1, self.training)

    def forward(self, src, tgt):
        x, y = self.rows(src), self.rows(tgt)
        for b in self.enc:
            x = b(x)
        x = self.ne(x)
        for b in self.dec:
            y = b(y, x)
        return self.nd(y) @ self.embed.weight.t()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--size", default="small", choices=SIZES)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    size = SIZES[a.size]
    m = Model(*size)
    opt = torch.optim.AdamW(m.parameters(), lr=5e-6, betas=(0.9, 0.98), weight_decay=0)
    src, tgt, out = (torch.randint(2, size[-1], (BATCH, LEN)) for _ in range(3))

    def step():
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            logits = m(src, tgt)
        loss = F.cross_entropy(logits.float().view(-1, size[-1]), out.view(-1), label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        return loss.item()

    times = []
    for r in range(-1, a.runs):
        start = time.perf_counter()
        for _ in range(a.steps):
            loss = step()
        if r >= 0:
            times.append((time.perf_counter() - start) / a.steps)
    med = statistics.median(times)
    print(json.dumps({"engine": "torch " + torch.__version__, "size": a.size, "bf16": a.bf16, "seconds_per_step": round(med, 5), "fastest": round(min(times), 5),
                      "slowest": round(max(times), 5), "tokens_per_second": round(2 * BATCH * LEN / med, 1),
                      "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1), "loss": round(loss, 4)}))


main()
