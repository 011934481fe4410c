#include "trainer/engine/backend/reference/reference_int.h"

#include <math.h>

static const double sqrt_half = 0.70710678118654752440;
static const double sqrt_2_over_pi = 0.79788456080286535588;
static const double two_over_sqrt_pi = 1.12837916709551257390;
static const double tanh_cubic = 0.044715; /* Hendrycks & Gimpel 2016 */
static const double quick = 1.702;

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double ref_act(enum act act, double x)
{
    switch (act) {
    case ACT_RELU:
        return x > 0 ? x : 0;
    case ACT_GELU_ERF:
        return 0.5 * x * erfc(-x * sqrt_half);
    case ACT_GELU_TANH:
        /* .5 (1 + tanh u) = sigmoid(2 u), without the cancellation */
        return x * sigmoid(2 * sqrt_2_over_pi * (x + tanh_cubic * x * x * x));
    case ACT_GELU_QUICK:
        return x * sigmoid(quick * x);
    case ACT_TANH:
        return tanh(x);
    case ACT_SIGMOID:
        return sigmoid(x);
    case ACT_SILU:
        return x * sigmoid(x);
    case ACT_ERF:
        return erf(x);
    case ACT_EXP:
        return exp(x);
    case ACT_SQRT:
        return sqrt(x);
    case ACT_NONE:
    case ACT_COUNT:
        break;
    }
    return x;
}

static double gelu_tanh_slope(double x)
{
    double t = tanh(sqrt_2_over_pi * (x + tanh_cubic * x * x * x));

    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt_2_over_pi * (1 + 3 * tanh_cubic * x * x);
}

double ref_act_slope(enum act act, double x)
{
    double s;

    switch (act) {
    case ACT_RELU:
        return x > 0 ? 1 : 0;
    case ACT_GELU_ERF:
        return 0.5 * erfc(-x * sqrt_half) +
               x * 0.5 * two_over_sqrt_pi * sqrt_half * exp(-0.5 * x * x);
    case ACT_GELU_TANH:
        return gelu_tanh_slope(x);
    case ACT_GELU_QUICK:
        s = sigmoid(quick * x);
        return s + quick * x * s * (1 - s);
    case ACT_TANH:
        s = tanh(x);
        return 1 - s * s;
    case ACT_SIGMOID:
        s = sigmoid(x);
        return s * (1 - s);
    case ACT_SILU:
        s = sigmoid(x);
        return s + x * s * (1 - s);
    case ACT_ERF:
        return two_over_sqrt_pi * exp(-x * x);
    case ACT_EXP:
        return exp(x);
    case ACT_SQRT:
        return 0.5 / sqrt(x);
    case ACT_NONE:
    case ACT_COUNT:
        break;
    }
    return 1;
}
