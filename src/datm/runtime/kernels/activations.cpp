// What stands between two convolutions, in one pass over memory: see activation.h. Activations have
// the channels of a pixel side by side ("channels last") and are float32 or bfloat16; all else is
// float32.
//
// Letters: as in activation.h.

#include "activation.h"

namespace {

// Images in memory, [B, H, W, C].
template <class X>
struct Images {
    X* values;

    // The place's channels of all pixels, side by side in `to`; gives their mean.
    Together pack(const Place& place, float* to) const {
        const X* first = values + place.pixel(0);
        Together sum{};
        for (int64_t i = 0; i < place.sizes.pixels(); ++i) {
            const Together value = Together::of(first + i * place.sizes.channels);
            value.into(to + i * STEP);
            sum += value;
        }
        return 1.f / place.sizes.pixels() * sum;
    }
    void put(const Place& place, int64_t i, float*, const Channels& value) const {
        value.into(values + place.pixel(i));
    }
};

template <class X, class Pointer>
Images<X> as(Pointer images) {
    return {static_cast<X*>(images)};
}

// Calls work.at(place, memory for `packed` copies of its pixels) for all channels of all images.
// Gives 1 where memory ran out, else 0.
template <class Work>
int everywhere(const Work& work, int packed, const Sizes& sizes, int64_t threads) {
    const int64_t steps = sizes.channels / STEP;
    bool failed = false;
#pragma omp parallel for num_threads(int(threads)) schedule(dynamic) reduction(|| : failed)
    for (int64_t i = 0; i < sizes.images * steps; ++i) {
        float* own = scratch.of(packed * sizes.pixels() * STEP);
        if (own) {
            work.at(Place{sizes, i / steps, i % steps * STEP}, own);
        } else {
            failed = true;
        }
    }
    return failed;
}

// Calls call(X{}, Y{}) with the types of x and y.
template <class Call>
int typed(int64_t half_x, int64_t half_y, Call call) {
    if (!half_x) return call(float{}, float{});
    return half_y ? call(Half{}, Half{}) : call(Half{}, float{});
}

}  // namespace

extern "C" {

// x [B, H, W, C] -> y [B, H / 2, W / 2, C]; mean, rate [B, C]; weight, bias [C]; C a multiple of
// STEP. `half_` says which are bfloat16: x, or x and y. Returns 0, or 1 where memory ran out, as
// the others do.
int datm_activations_forward(const void* x, const float* weight, const float* bias, void* y,
                             float* mean, float* rate, int64_t half_x, int64_t half_y,
                             int64_t images, int64_t height, int64_t width, int64_t channels,
                             int64_t threads) {
    return typed(half_x, half_y, [&](auto x_type, auto y_type) {
        using X = decltype(x_type);
        using Y = decltype(y_type);
        return everywhere(Forward<Images<const X>, Y>{as<const X>(x), weight, bias,
                                                      static_cast<Y*>(y), mean, rate},
                          1, {images, height, width, channels}, threads);
    });
}

// by_x like x, by_weight and by_bias [B, C] of by_y like y.
int datm_activations_backward(const void* x, const float* mean, const float* rate,
                              const float* weight, const float* bias, const void* by_y, void* by_x,
                              float* by_weight, float* by_bias, int64_t half_x, int64_t half_y,
                              int64_t images, int64_t height, int64_t width, int64_t channels,
                              int64_t threads) {
    return typed(half_x, half_y, [&](auto x_type, auto y_type) {
        using X = decltype(x_type);
        using Y = decltype(y_type);
        return everywhere(
            Backward<Images<const X>, Images<X>, Y>{as<const X>(x), mean, rate, weight, bias,
                                                    static_cast<const Y*>(by_y), as<X>(by_x),
                                                    by_weight, by_bias},
            1, {images, height, width, channels}, threads);
    });
}

// y and its derivative dy along dx, dw and db.
int datm_activations_forward_along(const void* x, const void* dx, const float* weight,
                                   const float* weight_move, const float* bias,
                                   const float* bias_move, void* y, void* dy, float* mean,
                                   float* rate, float* mean_move, float* overlap, int64_t half_x,
                                   int64_t half_y, int64_t images, int64_t height, int64_t width,
                                   int64_t channels, int64_t threads) {
    return typed(half_x, half_y, [&](auto x_type, auto y_type) {
        using X = decltype(x_type);
        using Y = decltype(y_type);
        return everywhere(
            ForwardAlong<Images<const X>, Y>{as<const X>(x), as<const X>(dx), weight, weight_move,
                                             bias, bias_move, static_cast<Y*>(y),
                                             static_cast<Y*>(dy), mean, rate, mean_move, overlap},
            2, {images, height, width, channels}, threads);
    });
}

// What <by_y, y> + <by_dy, dy> changes by.
int datm_activations_backward_along(const void* x, const void* dx, const float* mean,
                                    const float* rate, const float* mean_move, const float* overlap,
                                    const float* weight, const float* weight_move,
                                    const float* bias, const void* by_y, const void* by_dy,
                                    void* by_x, void* by_dx, float* by_weight,
                                    float* by_weight_move, float* by_bias, float* by_bias_move,
                                    int64_t half_x, int64_t half_y, int64_t images, int64_t height,
                                    int64_t width, int64_t channels, int64_t threads) {
    return typed(half_x, half_y, [&](auto x_type, auto y_type) {
        using X = decltype(x_type);
        using Y = decltype(y_type);
        return everywhere(
            BackwardAlong<Images<const X>, Images<X>, Y>{
                as<const X>(x), as<const X>(dx), mean, rate, mean_move, overlap, weight,
                weight_move, bias, static_cast<const Y*>(by_y), static_cast<const Y*>(by_dy),
                as<X>(by_x), as<X>(by_dx), by_weight, by_weight_move, by_bias, by_bias_move},
            2, {images, height, width, channels}, threads);
    });
}

}  // extern "C"
