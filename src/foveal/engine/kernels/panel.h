/* Panels: vectors of 16 numbers, in which all kernels compute. */

#pragma once

#include <stdint.h>
#include <string.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef float panel __attribute__((vector_size(64)));
typedef int32_t int_panel __attribute__((vector_size(64)));
typedef double double_panel __attribute__((vector_size(128)));

INLINE panel load(const float *from) { panel v; memcpy(&v, from, sizeof v); return v; }
INLINE void store(float *to, panel v) { memcpy(to, &v, sizeof v); }
INLINE panel broadcast(float x) { return x - (panel){0}; }

/* a where the mask is −1, b where it is 0: comparisons of panels give such masks. */
INLINE panel choose(int_panel mask, panel a, panel b)
{
    return (panel)(((int_panel)a & mask) | ((int_panel)b & ~mask));
}

/* The product v, rounded: the compiler must not fuse it with a sum that follows. Whether it does would depend on what
 * else uses v, and results would change with code that has nothing to do with them. Clang never fuses statements. */
INLINE panel rounded(panel v)
{
#if !defined(__clang__) && defined(__AVX512F__)
    __asm__("" : "+v"(v)); /* no instruction, but the compiler believes that v changes */
#elif !defined(__clang__)
    __asm__("" : "+m"(v));
#endif
    return v;
}

INLINE void accumulate(double *to, panel v) /* to[0 … 15] += v */
{
    double_panel sum;
    memcpy(&sum, to, sizeof sum);
    sum += __builtin_convertvector(v, double_panel);
    memcpy(to, &sum, sizeof sum);
}

/* max(y, 0), but NaN stays NaN: otherwise a run that diverged would go on. */
INLINE panel relu(panel y) { return choose(y < 0, broadcast(0), y); }

INLINE panel relu_if(const int rectified, panel y) { return rectified ? relu(y) : y; }

typedef struct {
    panel value, companion;
    int_panel index;
} maximum;

/* The maximum of a 2×2 window, its index from 0 to 3 and what `companions` have there; among equals the first is taken,
 * as in torch. */
INLINE maximum maximum_of_four(const panel window[4], const panel companions[4])
{
    maximum m = {window[0], companions[0], {0}};
    for (int k = 1; k < 4; k++) {
        int_panel greater = window[k] > m.value;
        m.value = choose(greater, window[k], m.value);
        m.companion = choose(greater, companions[k], m.companion);
        m.index = (greater & k) | (~greater & m.index);
    }
    return m;
}

/* Channel sums and sums of squares that batch normalisation needs, in single precision while they are few. */
typedef struct {
    panel sum, squares;
} moments;

INLINE void add_to_moments(moments *to, panel y)
{
    to->sum += y;
    to->squares += y * y;
}

/* sums (2, channels): first all sums, then all sums of squares. */
INLINE void accumulate_moments(double *sums, long channels, const moments *from)
{
    accumulate(sums, from->sum);
    accumulate(sums + channels, from->squares);
}

/* The first image of a thread's share; the share ends where the next thread's begins. */
INLINE long share_begin(long images, long thread, long threads) { return images * thread / threads; }
