/* cli/bench.h - what this machine can do at most: the yardsticks of endec bench. */
#ifndef ENDEC_CLI_BENCH_H
#define ENDEC_CLI_BENCH_H

/** Bytes per second that all threads of the pool read together from memory (best of a few passes over a block beyond the caches); 0 = could not be measured. */
double cli_read_bandwidth(void);
/** f32 operations per second (a fused multiply-add counts two) that all threads reach at the kernel level in use; 0 where there is no measurement for this processor. */
double cli_peak_flops(void);

#endif
