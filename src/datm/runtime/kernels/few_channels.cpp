// 3x3 convolutions of stride 1 with few input channels, and their derivatives: see few_channels.h.
//
// Tensors are float32; activations have the channels of a pixel side by side ("channels last").
// Letters: B images, H x W pixels, C channels in, K channels out; H' = H + 2 padding - 2.

#include "few_channels.h"

namespace {

// STEP channels of an image's outputs from channel k on, packed[pixel][STEP], out of and into all
// of them; beyond K there are zeros.
void pack(const float* outputs, const Shape& shape, int64_t k, float* packed) {
    const int64_t some = std::min<int64_t>(STEP, shape.out - k);
    for (int64_t i = 0; i < shape.pixels(); ++i) {
        float* end = std::copy_n(outputs + i * shape.out + k, some, packed + i * STEP);
        std::fill_n(end, STEP - some, 0.f);
    }
}
void unpack(const float* packed, const Shape& shape, int64_t k, float* outputs) {
    const int64_t some = std::min<int64_t>(STEP, shape.out - k);
    for (int64_t i = 0; i < shape.pixels(); ++i) {
        std::copy_n(packed + i * STEP, some, outputs + i * shape.out + k);
    }
}

}  // namespace

// Each returns 0, or 1 where memory ran out.
extern "C" {

// out [B, H', W', K] = x [B, H, W, C] convolved with w [K, C, 3, 3].
int datm_few_channels_convolve(const float* x, const float* w, float* out, int64_t images,
                               int64_t height, int64_t width, int64_t in, int64_t out_channels,
                               int64_t padding, int64_t threads) {
    const Shape shape{images, height, width, in, out_channels, padding};
    const Memory weights = weights_of(w, shape);
    if (!weights) return 1;
    const auto each = [&](int64_t, int64_t number, const Image& image, float* packed) {
        float* own = out + number * shape.pixels() * shape.out;
        with_channels(in, [&](auto in) {
            for (int64_t k = 0; k < shape.out; k += STEP) {
                outputs(image.frequencies, weights.get() + k / STEP * shape.weights(), shape, in,
                        packed);
                unpack(packed, shape, k, own);
            }
        });
    };
    return every_image(x, nullptr, shape, threads, shape.pixels() * STEP, each);
}

// dx [B, H, W, C], the derivative by the input of <dy [B, H', W', K], convolution with w>.
int datm_few_channels_input_gradient(const float* dy, const float* w, float* dx, int64_t images,
                                     int64_t height, int64_t width, int64_t in,
                                     int64_t out_channels, int64_t padding, int64_t threads) {
    const Shape shape{images, height, width, in, out_channels, padding};
    const Memory weights = weights_of(w, shape);
    if (!weights) return 1;
    const auto each = [&](int64_t, int64_t number, const Image& image, float* packed) {
        const float* own = dy + number * shape.pixels() * shape.out;
        with_channels(in, [&](auto in) {
            for (int64_t k = 0; k < shape.out; k += STEP) {
                pack(own, shape, k, packed);
                add_derivatives(packed, nullptr, weights.get() + k / STEP * shape.weights(), shape,
                                in, nullptr, image.by_frequencies);
            }
        });
    };
    return every_image(nullptr, dx, shape, threads, shape.pixels() * STEP, each);
}

// dw [K, C, 3, 3], the derivative by the weights of <dy [B, H', W', K], convolution of x>.
int datm_few_channels_weight_gradient(const float* x, const float* dy, float* dw, int64_t images,
                                      int64_t height, int64_t width, int64_t in,
                                      int64_t out_channels, int64_t padding, int64_t threads) {
    const Shape shape{images, height, width, in, out_channels, padding};
    WeightSums sums(shape, threads);
    if (sums.failed()) return 1;
    const auto each = [&](int64_t share, int64_t number, const Image& image, float* packed) {
        const float* own = dy + number * shape.pixels() * shape.out;
        with_channels(in, [&](auto in) {
            for (int64_t k = 0; k < shape.out; k += STEP) {
                pack(own, shape, k, packed);
                add_derivatives(packed, image.frequencies, nullptr, shape, in, sums.at(share, k),
                                nullptr);
            }
        });
    };
    const int failed = every_image(x, nullptr, shape, threads, shape.pixels() * STEP, each);
    if (!failed) sums.into(dw);
    return failed;
}

}  // extern "C"
