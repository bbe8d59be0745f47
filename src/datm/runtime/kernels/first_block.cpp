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
    const Tables& tables;
    const float *bordered, *weights;  // by output

    Channels pack(const Place& place, float* to) const {
        Channels sum{};
        each_lines(shape, [&](int64_t first, int64_t count) {
            for (int64_t k = 0; k < STEP; k += PANEL) {
                convolve(bordered, tables, shape, first, count,
                         weights + (place.channel + k) * shape.patch(), to + first * STEP + k,
                         STEP);
            }
            for (int64_t i = first; i < first + count; ++i) sum += taken(to, i);
        });
        return 1.f / shape.pixels() * sum;
    }
};

// Adds derivatives by what the convolution makes, `own`, to those by its weights.
void add(WeightSums& sums, int64_t share, const Convolved& x, const Place& place,
         const float* own) {
    for (int64_t k = 0; k < STEP; k += PANEL) {
        sums.add(share, x.bordered, x.tables, place.channel + k, own + k, STEP);
    }
}

// Derivatives by an image, where they are wanted, else nothing.
class ByImage {
   public:
    static int64_t floats(const Shape& shape, bool wanted) {
        return wanted ? shape.bordered() + shape.patches() : 0;
    }
    ByImage(const Shape& shape, const Tables& tables, float* memory, bool wanted)
        : shape_(shape), tables_(tables), bordered_(wanted ? memory : nullptr) {
        if (wanted) border(nullptr, shape, bordered_);
    }
    // Adds what derivatives by what the convolution makes, `own`, say.
    void add(const Place& place, const float* own, const float* by_patch) {
        if (!bordered_) return;
        add_input_gradient(own, STEP, STEP, by_patch + place.channel * PANEL, tables_, shape_,
                           bordered_ + shape_.bordered(), bordered_);
    }
    void into(float* images, int64_t image) const {
        if (bordered_) unborder(bordered_, shape_, images + image * shape_.image());
    }

   private:
    const Shape& shape_;
    const Tables& tables_;
    float* bordered_;
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
    const Tables tables(shape);
    const Memory by_output = weights_by_output(w, shape);
    if (tables.failed() || !by_output) return 1;
    return typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t, int64_t image, float* bordered, float* own) {
            const Convolved x{shape, tables, bordered, by_output.get()};
            const Forward<Convolved, Y> work{x, weight, bias, static_cast<Y*>(y), mean, rate};
            each_place(shape, image, [&](const Place& place) { work.at(place, own); });
        };
        return every_image(images, shape, threads, packed(shape), each);
    });
}

int datm_first_block_backward(const float* images, const float* w, const float* mean,
                              const float* rate, const float* weight, const float* bias,
                              const void* by_y, float* by_images, float* by_w, float* by_weight,
                              float* by_bias, int64_t half, int64_t images_wanted, int64_t w_wanted,
                              int64_t count, int64_t height, int64_t width, int64_t in, int64_t out,
                              int64_t padding, int64_t threads) {
    const Shape shape{count, height, width, in, out, padding};
    const Tables tables(shape);
    const Memory by_output = weights_by_output(w, shape), by_patch = weights_by_patch(w, shape);
    WeightSums sums(shape, threads, w_wanted);
    if (tables.failed() || sums.failed() || !by_output || !by_patch) return 1;
    const int failed = typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t share, int64_t image, float* bordered, float* own) {
            ByImage by_image(shape, tables, own + packed(shape), images_wanted);
            const Convolved x{shape, tables, bordered, by_output.get()};
            const Backward<Convolved, InPlace, Y> work{
                x, mean, rate, weight, bias, static_cast<const Y*>(by_y), {}, by_weight, by_bias};
            each_place(shape, image, [&](const Place& place) {
                work.at(place, own);
                if (w_wanted) add(sums, share, x, place, own);
                by_image.add(place, own, by_patch.get());
            });
            by_image.into(by_images, image);
        };
        const int64_t floats = packed(shape) + ByImage::floats(shape, images_wanted);
        return every_image(images, shape, threads, floats, each);
    });
    if (w_wanted && !failed) sums.into(by_w);
    return failed;
}

int datm_first_block_forward_along(const float* images, const float* w, const float* w_move,
                                   const float* weight, const float* weight_move, const float* bias,
                                   const float* bias_move, void* y, void* dy, float* mean,
                                   float* rate, float* mean_move, float* overlap, int64_t half,
                                   int64_t count, int64_t height, int64_t width, int64_t in,
                                   int64_t out, int64_t padding, int64_t threads) {
    const Shape shape{count, height, width, in, out, padding};
    const Tables tables(shape);
    const Memory by_output = weights_by_output(w, shape);
    const Memory move_by_output = weights_by_output(w_move, shape);
    if (tables.failed() || !by_output || !move_by_output) return 1;
    return typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t, int64_t image, float* bordered, float* own) {
            const Convolved x{shape, tables, bordered, by_output.get()};
            const Convolved dx{shape, tables, bordered, move_by_output.get()};
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
            each_place(shape, image, [&](const Place& place) { work.at(place, own); });
        };
        return every_image(images, shape, threads, 2 * packed(shape), each);
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
    const Tables tables(shape);
    const Memory by_output = weights_by_output(w, shape), by_patch = weights_by_patch(w, shape);
    const Memory move_by_output = weights_by_output(w_move, shape);
    const Memory move_by_patch = weights_by_patch(w_move, shape);
    WeightSums sums(shape, threads, w_wanted), move_sums(shape, threads, w_move_wanted);
    const bool ready = by_output && by_patch && move_by_output && move_by_patch;
    if (tables.failed() || sums.failed() || move_sums.failed() || !ready) return 1;
    const int failed = typed(half, [&](auto type) {
        using Y = decltype(type);
        const auto each = [&](int64_t share, int64_t image, float* bordered, float* own) {
            float* own_move = own + packed(shape);
            ByImage by_image(shape, tables, own_move + packed(shape), images_wanted);
            const Convolved x{shape, tables, bordered, by_output.get()};
            const Convolved dx{shape, tables, bordered, move_by_output.get()};
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
            each_place(shape, image, [&](const Place& place) {
                work.at(place, own);
                if (w_wanted) add(sums, share, x, place, own);
                if (w_move_wanted) add(move_sums, share, x, place, own_move);
                by_image.add(place, own, by_patch.get());
                by_image.add(place, own_move, move_by_patch.get());
            });
            by_image.into(by_images, image);
        };
        const int64_t floats = 2 * packed(shape) + ByImage::floats(shape, images_wanted);
        return every_image(images, shape, threads, floats, each);
    });
    if (w_wanted && !failed) sums.into(by_w);
    if (w_move_wanted && !failed) move_sums.into(by_w_move);
    return failed;
}

}  // extern "C"
