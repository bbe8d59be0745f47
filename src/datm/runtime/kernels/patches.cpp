// 3x3 convolutions of stride 1 with few input channels, and their derivatives: see few_channels.h.
//
// Tensors are float32; activations have the channels of a pixel side by side ("channels last").
// Letters: B images, H x W pixels, C channels in, K channels out; H' = H + 2 padding - 2.

#include "few_channels.h"

// Each returns 0, or 1 where memory ran out.
extern "C" {

// out [B, H', W', K] = x [B, H, W, C] convolved with w [K, C, 3, 3].
int datm_patches_convolve(const float* x, const float* w, float* out, int64_t images,
                          int64_t height, int64_t width, int64_t in, int64_t out_channels,
                          int64_t padding, int64_t threads) {
    const Shape shape{images, height, width, in, out_channels, padding};
    const Tables tables(shape);
    const Memory panels = weights_by_output(w, shape);
    if (tables.failed() || !panels) return 1;
    return every_image(x, shape, threads, shape.lines() * PANEL,
                       [&](int64_t, int64_t image, float* bordered, float* last) {
                           each_lines(shape, [&](int64_t first, int64_t count) {
                               float* own = out + (image * shape.pixels() + first) * out_channels;
                               for (int64_t k = 0; k < out_channels; k += PANEL) {
                                   const int64_t some = std::min<int64_t>(PANEL, out_channels - k);
                                   const bool whole = some == PANEL;
                                   convolve(bordered, tables, shape, first, count,
                                            panels.get() + k * shape.patch(),
                                            whole ? own + k : last, whole ? out_channels : PANEL);
                                   for (int64_t i = 0; !whole && i < count; ++i) {
                                       std::copy_n(last + i * PANEL, some,
                                                   own + i * out_channels + k);
                                   }
                               }
                           });
                       });
}

// dx [B, H, W, C], the derivative by the input of <dy [B, H', W', K], convolution with w>.
int datm_patches_input_gradient(const float* dy, const float* w, float* dx, int64_t images,
                                int64_t height, int64_t width, int64_t in, int64_t out_channels,
                                int64_t padding, int64_t threads) {
    const Shape shape{images, height, width, in, out_channels, padding};
    const Tables tables(shape);
    const Memory panels = weights_by_patch(w, shape);
    if (tables.failed() || !panels) return 1;
    return every_image(nullptr, shape, threads, shape.patches(),
                       [&](int64_t, int64_t image, float* bordered, float* patches) {
                           const float* own = dy + image * shape.pixels() * out_channels;
                           add_input_gradient(own, out_channels, out_channels, panels.get(), tables,
                                              shape, patches, bordered);
                           unborder(bordered, shape, dx + image * shape.image());
                       });
}

// dw [K, C, 3, 3], the derivative by the weights of <dy [B, H', W', K], convolution of x>.
int datm_patches_weight_gradient(const float* x, const float* dy, float* dw, int64_t images,
                                 int64_t height, int64_t width, int64_t in, int64_t out_channels,
                                 int64_t padding, int64_t threads) {
    const Shape shape{images, height, width, in, out_channels, padding};
    const Tables tables(shape);
    WeightSums sums(shape, threads);
    if (tables.failed() || sums.failed()) return 1;
    const int failed =
        every_image(x, shape, threads, shape.pixels() * PANEL,
                    [&](int64_t share, int64_t image, float* bordered, float* last) {
                        const float* own = dy + image * shape.pixels() * out_channels;
                        for (int64_t k = 0; k < out_channels; k += PANEL) {
                            const int64_t some = std::min<int64_t>(PANEL, out_channels - k);
                            if (some < PANEL) {
                                std::memset(last, 0, shape.pixels() * PANEL * sizeof(float));
                                for (int64_t i = 0; i < shape.pixels(); ++i) {
                                    std::copy_n(own + i * out_channels + k, some, last + i * PANEL);
                                }
                            }
                            sums.add(share, bordered, tables, k, some < PANEL ? last : own + k,
                                     some < PANEL ? PANEL : out_channels);
                        }
                    });
    if (!failed) sums.into(dw);
    return failed;
}

}  // extern "C"
