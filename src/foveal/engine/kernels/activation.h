/* Activation functions and their derivatives. */

#pragma once

#include "panel.h"

enum activation { LINEAR, RELU, SILU };

/* eˣ by Cody and Waite's reduction to |r| ≤ ln 2 / 2 and a polynomial; the relative error is below 2e-7.
 * Naively: expf(x) with x limited to −87 … 88. */
INLINE panel exponential(panel x)
{
    x = choose(x > 88, broadcast(88), choose(x < -87, broadcast(-87), x));
    panel shifted = x * 1.44269504f + 12582912.0f; /* adding 1.5·2²³ rounds to the nearest whole number */
    panel whole = shifted - 12582912.0f;
    panel r = x - whole * 0.693359375f + whole * 2.12194440e-4f; /* x − whole · ln 2, ln 2 in two parts */
    panel e = broadcast(1.9875691500e-4f);
    e = e * r + 1.3981999507e-3f;
    e = e * r + 8.3334519073e-3f;
    e = e * r + 4.1665795894e-2f;
    e = e * r + 1.6666665459e-1f;
    e = e * r + 5.0000001201e-1f;
    e = e * r * r + r + 1.0f;
    return (panel)((int_panel)e + (__builtin_convertvector(whole, int_panel) << 23)); /* times 2^whole */
}

INLINE panel sigmoid(panel u) { return 1.0f / (1.0f + exponential(-u)); }

INLINE panel activate(panel u, const int activation)
{
    if (activation == RELU) return relu(u);
    return activation == SILU ? u * sigmoid(u) : u;
}

INLINE panel activation_derivative(panel u, const int activation)
{
    if (activation == LINEAR) return broadcast(1);
    if (activation == RELU) return choose(u > 0, broadcast(1), broadcast(0));
    panel s = sigmoid(u);
    return s + u * s * (1.0f - s);
}
