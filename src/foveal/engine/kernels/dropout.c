/* Dropout (Srivastava et al. 2014). */

#include <stdint.h>

/* z = x / (1 − rate) where a hash of place and seed is at least `rate` (as a share of 2³²), else 0.
 * The derivative is the same function of ∂z. */
void foveal_dropout(long n, const float *x, uint32_t seed, float rate, float *z)
{
    uint32_t limit = (uint32_t)(rate * 4294967296.0f);
    float scale = 1.0f / (1.0f - rate);
    for (long i = 0; i < n; i++) {
        uint32_t h = (uint32_t)i * 0x9e3779b9u ^ seed;
        h = (h ^ h >> 16) * 0x21f0aaadu; /* a 32-bit finaliser: each input bit flips half of the output */
        h = (h ^ h >> 15) * 0xd35a2d97u;
        h ^= h >> 15;
        z[i] = h >= limit ? x[i] * scale : 0.0f;
    }
}
