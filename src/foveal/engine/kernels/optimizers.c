/* Optimizer steps that read and write each number once. */

#include <math.h>

typedef struct {
    float learning_rate, rho, epsilon, weight_decay;
} rmsprop_settings;

typedef struct {
    float learning_rate, beta_1, beta_2, epsilon, weight_decay;
} adam_settings;

/* v ← ρ·v + (1 − ρ)·g²;  w ← w − learning rate · g / √(v + ε), with g = ∂w + weight decay · w. */
void foveal_rmsprop(const rmsprop_settings *settings, long n, float *w, const float *grad_w, float *v)
{
    const rmsprop_settings s = *settings; /* a copy, which no store to w or v can change */
    for (long i = 0; i < n; i++) {
        float g = grad_w[i] + s.weight_decay * w[i];
        v[i] = s.rho * v[i] + (1 - s.rho) * g * g;
        w[i] -= s.learning_rate * g / sqrtf(v[i] + s.epsilon);
    }
}

/* m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²;  w ← w − learning rate · m / (√v + ε), with g as above.
 * The learning rate contains the bias correction. */
void foveal_adam(const adam_settings *settings, long n, float *w, const float *grad_w, float *m, float *v)
{
    const adam_settings s = *settings;
    for (long i = 0; i < n; i++) {
        float g = grad_w[i] + s.weight_decay * w[i];
        m[i] = s.beta_1 * m[i] + (1 - s.beta_1) * g;
        v[i] = s.beta_2 * v[i] + (1 - s.beta_2) * g * g;
        w[i] -= s.learning_rate * m[i] / (sqrtf(v[i]) + s.epsilon);
    }
}
