/*
 * exp, erf, tanh, sigmoid and the activations with their slopes, on vectors.
 *
 * Polynomials are minimax fits (Remez) made for these intervals; the error
 * stated is measured by tests/ops over all exponents, in units in the last
 * place of the result:
 *
 *   v_exp      < 1.5    over and underflow as expf, denormals included
 *   v_erf      < 2.5    x * P(x^2) below |x| = .9, else 1 - erfc
 *   v_tanh     < 2.5
 *   v_sigmoid  < 3
 *   gelu_erf   <= 6     of the value, also in the far negative tail, where .5 (1 + erf) loses all
 */
#ifndef TRAINER_ENGINE_BACKEND_CPU_SIMD_MATH_H
#define TRAINER_ENGINE_BACKEND_CPU_SIMD_MATH_H

#include "trainer/engine/backend/cpu/simd.h"
#include "trainer/engine/op/op.h"

/* exp(r) for |r| <= ln 2 / 2, its polynomial in pairs (Estrin's scheme): the length of the chain,
 * not the number of operations, bounds these functions. */
SIMD_INLINE vf v_exp_reduced(vf r)
{
    vf r2 = v_mul(r, r);
    vf p01 = v_fma(r, v_set1(0.166665736937f), v_set1(0.499999995254f));
    vf p23 = v_fma(r, v_set1(0.00836373992273f), v_set1(0.0416668609166f));
    vf p = v_fma(r2, v_fma(r2, v_set1(0.00139015348997f), p23), p01);

    return v_add(v_fma(p, r2, r), v_set1(1.0f));
}

/* exp(x + low): Cody and Waite's reduction by ln 2 in two parts; 2^n in two factors, so that
 * denormals and infinity come out by themselves. */
SIMD_INLINE vf v_exp_two(vf x, vf low)
{
    vf clamped = v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x)); /* in this order NaN stays */
    vi n = v_to_int(v_mul(clamped, v_set1(1.44269504f)));
    vi half = vi_half(n);
    vf nf = v_to_float(n), r;

    r = v_add(v_fnma(nf, v_set1(0.693359375f), clamped), v_fnma(nf, v_set1(-2.12194440e-4f), low));
    return v_mul(v_mul(v_exp_reduced(r), v_exponent(half)), v_exponent(vi_sub(n, half)));
}

/* exp(-a^2 / 2) for |a| <= 13, with the rounding error of a^2 put back. */
SIMD_INLINE vf v_bell(vf a)
{
    vf square = v_mul(a, a), low = v_fma(a, a, v_sub(v_zero(), square));
    vi n = v_to_int(v_mul(square, v_set1(-0.5f * 1.44269504f)));
    vf nf = v_to_float(n);
    vf high = v_fnma(nf, v_set1(0.693359375f), v_mul(square, v_set1(-0.5f)));
    vf rest = v_fnma(nf, v_set1(-2.12194440e-4f), v_mul(low, v_set1(-0.5f)));

    return v_mul(v_exp_reduced(v_add(high, rest)), v_exponent(n));
}

SIMD_INLINE vf v_exp(vf x)
{
    return v_exp_two(x, v_zero());
}

/* exp(-z^2), with the rounding error of z^2 put back; `low` comes out of the fused multiply-add (on
 * the baseline, where it is zero, the tail is less exact). */
SIMD_INLINE vf v_exp_minus_square(vf z)
{
    vf square = v_mul(z, z);
    vf low = v_fma(z, z, v_sub(v_zero(), square));

    return v_exp_two(v_sub(v_zero(), square), v_sub(v_zero(), low));
}

/* erfc(z) exp(z^2) for 0 <= z <= 11: P(q) / (1 + 2 z), q = (z - 2) / (z + 2); one division. */
SIMD_INLINE vf v_erfcx(vf z)
{
    vf up = v_add(z, v_set1(2.0f)), twice = v_fma(z, v_set1(2.0f), v_set1(1.0f));
    vf r = v_div(v_set1(1.0f), v_mul(up, twice));
    vf q = v_mul(v_mul(v_sub(z, v_set1(2.0f)), twice), r), q2 = v_mul(q, q), q4 = v_mul(q2, q2);
    vf p01 = v_fma(q, v_set1(-0.0927640300523f), v_set1(1.27697840036f));
    vf p23 = v_fma(q, v_set1(0.164056227244f), v_set1(-0.166031900428f));
    vf p45 = v_fma(q, v_set1(-0.00806250788909f), v_set1(-0.0541990216041f));
    vf p67 = v_fma(q, v_set1(0.00130982634246f), v_set1(0.00861240708016f));
    vf p89 = v_fma(q, v_set1(-0.000387169078982f), v_set1(-0.00120755823261f));
    vf p = v_fma(q4, v_fma(q4, p89, v_fma(q2, p67, p45)), v_fma(q2, p23, p01));

    return v_mul(v_mul(p, up), r);
}

SIMD_INLINE vf v_erf(vf x)
{
    vf a = v_min(v_set1(11.0f), v_abs(x)), s = v_mul(x, x), small, large;

    small = v_set1(8.19376241872e-5f);
    small = v_fma(small, s, v_set1(-0.000809987258022f));
    small = v_fma(small, s, v_set1(0.00519715434293f));
    small = v_fma(small, s, v_set1(-0.0268577913803f));
    small = v_fma(small, s, v_set1(0.112836656476f));
    small = v_fma(small, s, v_set1(-0.376126317276f));
    small = v_fma(small, s, v_set1(1.12837916642f));
    small = v_mul(small, x);
    large = v_sub(v_set1(1.0f), v_mul(v_exp_minus_square(a), v_erfcx(a)));
    return v_pick(v_less(a, v_set1(0.9f)), small, v_sign_of(large, x));
}

SIMD_INLINE vf v_sigmoid(vf x)
{
    return v_div(v_set1(1.0f), v_add(v_set1(1.0f), v_exp(v_sub(v_zero(), x))));
}

SIMD_INLINE vf v_tanh(vf x)
{
    vf s = v_mul(x, x), small, large, e;

    small = v_set1(-0.00599320706421f);
    small = v_fma(small, s, v_set1(0.0209243506129f));
    small = v_fma(small, s, v_set1(-0.0538351934623f));
    small = v_fma(small, s, v_set1(0.133326639121f));
    small = v_fma(small, s, v_set1(-0.333333278698f));
    small = v_fma(v_mul(small, s), x, x);
    e = v_exp(v_mul(v_abs(x), v_set1(2.0f)));
    large = v_sub(v_set1(1.0f), v_div(v_set1(2.0f), v_add(e, v_set1(1.0f))));
    return v_pick(v_less(v_abs(x), v_set1(0.625f)), small, v_sign_of(large, x));
}

/* x Phi(x) and Phi(x) + x phi(x); both tails from erfc, so nothing cancels. */
SIMD_INLINE vf v_gelu_erf(vf x, vf *slope)
{
    vf a = v_min(v_set1(13.0f), v_abs(x)), z = v_mul(a, v_set1(0.70710678118f));
    vf bell = v_bell(a);
    vf tail = v_mul(v_mul(bell, v_set1(0.5f)), v_erfcx(z));
    vf phi = v_pick(v_less(x, v_zero()), tail, v_sub(v_set1(1.0f), tail));

    *slope = v_fma(v_mul(v_sign_of(a, x), bell), v_set1(0.39894228040f), phi);
    return v_mul(x, phi);
}

SIMD_INLINE vf v_gelu_tanh(vf x, vf *slope)
{
    vf s = v_mul(x, x);
    vf twice =
        v_mul(v_mul(x, v_set1(2 * 0.79788456080f)), v_fma(s, v_set1(0.044715f), v_set1(1.0f)));
    vf sig = v_sigmoid(twice); /* .5 (1 + tanh u) = sigmoid(2 u) */
    vf inner = v_mul(v_set1(2 * 0.79788456080f), v_fma(s, v_set1(3 * 0.044715f), v_set1(1.0f)));

    *slope = v_fma(v_mul(v_mul(x, inner), sig), v_sub(v_set1(1.0f), sig), sig);
    return v_mul(x, sig);
}

/* x sigmoid(k x) */
SIMD_INLINE vf v_swish(vf x, float k, vf *slope)
{
    vf sig = v_sigmoid(v_mul(x, v_set1(k)));

    *slope = v_fma(v_mul(v_mul(x, v_set1(k)), sig), v_sub(v_set1(1.0f), sig), sig);
    return v_mul(x, sig);
}

/* Value and slope of any activation. With a constant `act` all but one branch vanish. */
SIMD_INLINE vf v_act(enum act act, vf x, vf *slope)
{
    vf y;

    *slope = v_set1(1.0f);
    switch (act) {
    case ACT_RELU:
        *slope = v_pick(v_less(v_zero(), x), v_set1(1.0f), v_zero());
        return v_max(x, v_zero());
    case ACT_GELU_ERF:
        return v_gelu_erf(x, slope);
    case ACT_GELU_TANH:
        return v_gelu_tanh(x, slope);
    case ACT_GELU_QUICK:
        return v_swish(x, 1.702f, slope);
    case ACT_SILU:
        return v_swish(x, 1.0f, slope);
    case ACT_TANH:
        y = v_tanh(x);
        *slope = v_fnma(y, y, v_set1(1.0f));
        return y;
    case ACT_SIGMOID:
        y = v_sigmoid(x);
        *slope = v_mul(y, v_sub(v_set1(1.0f), y));
        return y;
    case ACT_ERF:
        *slope = v_mul(v_set1(1.12837916710f), v_exp_minus_square(v_min(v_set1(15.0f), v_abs(x))));
        return v_erf(x);
    case ACT_EXP:
        *slope = v_exp(x);
        return *slope;
    case ACT_SQRT:
        y = v_sqrt(x);
        *slope = v_div(v_set1(0.5f), y);
        return y;
    case ACT_NONE:
    case ACT_COUNT:
        break;
    }
    return x;
}

#endif
