// A network's first convolution and what stands behind it (see activation.h), together: what the
// convolution makes stays in the cache, and is made anew in the backward pass. Along a direction
// the convolution's weights move, and the images do not.
//
// Images [B, H, W, C], weights [K, C, 3, 3] of a 3x3 convolution of stride 1. Activations have the
// channels of a pixel side by side ("channels last"); those that come out are float32 or bfloat16,
// all else is float32.
//
// Letters: B images, H x W pixels, C channels in, K channels out, a multiple of STEP.

#include "activation.h"
#include "few_channels.h"

namespace {

// Derivatives take the place of what they are derivatives by.
struct InPlace {
    void put(const Place&, int64_t i, float* own, const Channels& value) const {
        value.into(own + i * STEP);
    }
};

// What the convolution makes of an image.
struct Convolved {
    const Shape& shape;
    const float *image, *weights;  // frequencies

    const float* weights_at(const Place& place) const {
        return weights + place.channel / STEP * shape.weights();
    }
    Together pack(const Place& place, float* to) const {
        Together sums;
        with_channels(shape.in,
                      [&](auto in) { sums = outputs(image, weights_at(place), shape, in, to); });
        return 1.f / shape.pixels() * sums;
    }
    // Adds what derivatives by it, `own`, say.
    void add(const Place& place, const float* own, float* by_weights, float* by_image) const {
        with_channels(shape.in, [&](auto in) {
            add_derivatives(own, image, weights_at(place), shape, in, by_weights, by_image);
        });
    }
};

// Calls each(place) for all channels of an image, some after the other.
template <class Each>
void each_place(const Shape& shape, int64_t image, Each each) {
    const Sizes sizes{shape.images, shape.rows(), shape.columns(), shape.out};
    for (int64_t k = 0; k < shape.out; k += STEP) each(Place{sizes, image, k});
}

int64_t packed(const Shape& shape) { return shape.pixels() * STEP; }

// Calls use(Y{}) with the type of y.
template <class Use>
int typed(int64_t half, Use use) {
    return half ? use(Half{}) : use(float{});
}

}  // namespace

// Each returns 0, or 1 where memory ran out. y [B, H' / 2, W' / 2, K] is bfloat16 if `half`; mean,
// rate and the like [B, K]; weight, bias [K]. What is not wanted is not touched.
extern "C" {

int datm_first_block_forward(const float* images, const float* w, const float* weight,
                             const float* bias, void* y, float* mean, float* rate, int64_t half,
                             int64_t count, int64_t height, int64_t width, int64_t in, int64_t out,
                             int64_t padding, int64_t threads) {
    const Shape shape{count, height, width, in, out, padding};
    const Memory weights = weights_of(w, shape);
    if (!weights) return 1;
    return typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t, int64_t number, const Image& image, float* own) {
            const Convolved x{shape, image.frequencies, weights.get()};
            const Forward<Convolved, Y> work{x, weight, bias, static_cast<Y*>(y), mean, rate};
            each_place(shape, number, [&](const Place& place) { work.at(place, own); });
        };
        return every_image(images, nullptr, shape, threads, packed(shape), each);
    });
}

int datm_first_block_backward(const float* images, const float* w, const float* mean,
                              const float* rate, const float* weight, const float* bias,
                              const void* by_y, float* by_images, float* by_w, float* by_weight,
                              float* by_bias, int64_t half, int64_t images_wanted, int64_t w_wanted,
                              int64_t count, int64_t height, int64_t width, int64_t in, int64_t out,
                              int64_t padding, int64_t threads) {
    const Shape shape{count, height, width, in, out, padding};
    const Memory weights = weights_of(w, shape);
    WeightSums sums(shape, threads, w_wanted);
    if (sums.failed() || !weights) return 1;
    const int failed = typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t share, int64_t number, const Image& image, float* own) {
            const Convolved x{shape, image.frequencies, weights.get()};
            const Backward<Convolved, InPlace, Y> work{
                x, mean, rate, weight, bias, static_cast<const Y*>(by_y), {}, by_weight, by_bias};
            each_place(shape, number, [&](const Place& place) {
                work.at(place, own);
                x.add(place, own, sums.at(share, place.channel), image.by_frequencies);
            });
        };
        return every_image(images, images_wanted ? by_images : nullptr, shape, threads,
                           packed(shape), each);
    });
    if (!failed) sums.into(by_w);
    return failed;
}

int datm_first_block_forward_along(const float* images, const float* w, const float* w_move,
                                   const float* weight, const float* weight_move, const float* bias,
                                   const float* bias_move, void* y, void* dy, float* mean,
                                   float* rate, float* mean_move, float* overlap, int64_t half,
                                   int64_t count, int64_t height, int64_t width, int64_t in,
                                   int64_t out, int64_t padding, int64_t threads) {
    const Shape shape{count, height, width, in, out, padding};
    const Memory weights = weights_of(w, shape), moves = weights_of(w_move, shape);
    if (!weights || !moves) return 1;
    return typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t, int64_t number, const Image& image, float* own) {
            const Convolved x{shape, image.frequencies, weights.get()};
            const Convolved dx{shape, image.frequencies, moves.get()};
            const ForwardAlong<Convolved, Y> work{x,
                                                  dx,
                                                  weight,
                                                  weight_move,
                                                  bias,
                                                  bias_move,
                                                  static_cast<Y*>(y),
                                                  static_cast<Y*>(dy),
                                                  mean,
                                                  rate,
                                                  mean_move,
                                                  overlap};
            each_place(shape, number, [&](const Place& place) { work.at(place, own); });
        };
        return every_image(images, nullptr, shape, threads, 2 * packed(shape), each);
    });
}

int datm_first_block_backward_along(
    const float* images, const float* w, const float* w_move, const float* mean, const float* rate,
    const float* mean_move, const float* overlap, const float* weight, const float* weight_move,
    const float* bias, const void* by_y, const void* by_dy, float* by_images, float* by_w,
    float* by_w_move, float* by_weight, float* by_weight_move, float* by_bias, float* by_bias_move,
    int64_t half, int64_t images_wanted, int64_t w_wanted, int64_t w_move_wanted, int64_t count,
    int64_t height, int64_t width, int64_t in, int64_t out, int64_t padding, int64_t threads) {
    const Shape shape{count, height, width, in, out, padding};
    const Memory weights = weights_of(w, shape), moves = weights_of(w_move, shape);
    WeightSums sums(shape, threads, w_wanted), move_sums(shape, threads, w_move_wanted);
    if (sums.failed() || move_sums.failed() || !weights || !moves) return 1;
    const int failed = typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t share, int64_t number, const Image& image, float* own) {
            const Convolved x{shape, image.frequencies, weights.get()};
            const Convolved dx{shape, image.frequencies, moves.get()};
            const BackwardAlong<Convolved, InPlace, Y> work{x,
                                                            dx,
                                                            mean,
                                                            rate,
                                                            mean_move,
                                                            overlap,
                                                            weight,
                                                            weight_move,
                                                            bias,
                                                            static_cast<const Y*>(by_y),
                                                            static_cast<const Y*>(by_dy),
                                                            {},
                                                            {},
                                                            by_weight,
                                                            by_weight_move,
                                                            by_bias,
                                                            by_bias_move};
            each_place(shape, number, [&](const Place& place) {
                work.at(place, own);
                x.add(place, own, sums.at(share, place.channel), image.by_frequencies);
                dx.add(place, own + packed(shape), move_sums.at(share, place.channel),
                       image.by_frequencies);
            });
        };
        return every_image(images, images_wanted ? by_images : nullptr, shape, threads,
                           2 * packed(shape), each);
    });
    if (!failed) {
        sums.into(by_w);
        move_sums.into(by_w_move);
    }
    return failed;
}

}  // extern "C"
