// What stands between two convolutions, in one pass over memory: instance normalisation, ReLU and
// 2x2 average pooling; its derivative along a direction; and both in reverse.
//
// Made for an image and a few of its channels at a time, whose pixels stay in the cache between
// the statistics and their use. Where they come from is the affair of In, which packs them, and
// where derivatives by them go that of Out, which puts them. Activations have the channels of a
// pixel side by side ("channels last") and are float32 or bfloat16; all else, and the arithmetic,
// is float32.
//
// Letters: B images, H x W pixels, C channels, n = H W. Of a channel of an image: x^ = rate (x -
// mean) with rate = 1 / sqrt(variance + epsilon), z = weight x^ + bias, and y is the mean of four
// max(z, 0). Along the directions dx, dw, db: u = rate (dx - mean dx), a = mean(x^ u),
// dx^ = u - a x^, dz = dw x^ + weight dx^ + db, and dy is the mean of four dz whose z > 0.

#pragma once

#include <cmath>

#include "channels.h"
#include "memory.h"

namespace {

constexpr float EPSILON = 1e-5f;
// 1 / sqrt(variance + EPSILON)
Channels rate_of(const Channels& variance) {
    Channels result;
    for (int i = 0; i < PART; ++i) {
        result.at[i / LANES][i % LANES] =
            1 / std::sqrt(variance.at[i / LANES][i % LANES] + EPSILON);
    }
    return result;
}
// `value` where z > 0, else 0; a NaN in z, or beside it in value, is passed on as PyTorch does.
Channels passed(const Channels& z, const Channels& value) {
    return made<PART / LANES>([&](int n) { return z.at[n] <= 0 ? Vector{} : value.at[n]; });
}

// Of a pixel, where these channels of all pixels lie side by side.
Channels taken(const float* packed, int64_t pixel) { return Channels::of(packed + pixel * STEP); }

struct Sizes {
    int64_t images, height, width, channels;
    int64_t pixels() const { return height * width; }
    int64_t pooled() const { return (height / 2) * (width / 2); }
};

// STEP channels of an image, or PART of these, that are being worked on.
struct Place {
    Sizes sizes;
    int64_t image, channel;

    int64_t entry() const { return image * sizes.channels + channel; }
    int64_t pixel(int64_t i) const {
        return (image * sizes.pixels() + i) * sizes.channels + channel;
    }
    // Calls use(offset of the pooled pixel, the four pixels that it is made of).
    template <class Use>
    void each_window(Use use) const {
        int64_t to = image * sizes.pooled() * sizes.channels + channel;
        for (int64_t y = 0; y < sizes.height / 2; ++y) {
            for (int64_t x = 0; x < sizes.width / 2; ++x, to += sizes.channels) {
                const int64_t corner = 2 * y * sizes.width + 2 * x;
                const int64_t four[4] = {corner, corner + 1, corner + sizes.width,
                                         corner + sizes.width + 1};
                use(to, four);
            }
        }
    }
    // Calls use(pixel) for those of an odd last row or column, which are in no window.
    template <class Use>
    void each_left_out(Use use) const {
        for (int64_t y = 0; sizes.width % 2 && y < sizes.height; ++y) {
            use(y * sizes.width + sizes.width - 1);
        }
        for (int64_t x = 0; sizes.height % 2 && x < sizes.width / 2 * 2; ++x) {
            use((sizes.height - 1) * sizes.width + x);
        }
    }
};

// Calls each(part of the place, its memory, its first channel of STEP).
template <class Each>
void each_part(const Place& place, float* own, Each each) {
    for (int k = 0; k < STEP; k += PART) {
        each(Place{place.sizes, place.image, place.channel + k}, own + k, k);
    }
}

// Mean and rate of a channel, and z as a straight line of x.
struct Line {
    Channels mean, rate, weight, scale, shift;

    Line(const Channels& mean, const Channels& rate, const Channels& weight, const Channels& bias)
        : mean(mean),
          rate(rate),
          weight(weight),
          scale(weight * rate),
          shift(bias - mean * scale) {}
    Channels normal(const Channels& x) const { return rate * (x - mean); }
    Channels z(const Channels& x) const { return x * scale + shift; }
};

template <class Kept>
Line known(const Place& place, const Kept& kept) {
    return {Channels::of(kept.mean + place.entry()), Channels::of(kept.rate + place.entry()),
            Channels::of(kept.weight + place.channel), Channels::of(kept.bias + place.channel)};
}

template <class In, class Y>
struct Forward {
    In x;
    const float *weight, *bias;
    Y* y;
    float *mean, *rate;

    FLATTEN void at(const Place& place, float* own) const {
        const Together centres = x.pack(place, own);
        each_part(place, own, [&](const Place& part, float* own, int k) {
            const Channels centre = part_of(centres, k);
            Channels squares{};
            for (int64_t i = 0; i < part.sizes.pixels(); ++i) {
                const Channels apart = taken(own, i) - centre;
                squares += apart * apart;
            }
            const Channels variance = 1.f / part.sizes.pixels() * squares;
            const Channels inverse = rate_of(variance);
            centre.into(mean + part.entry());
            inverse.into(rate + part.entry());
            const Line line = known(part, *this);
            part.each_window([&](int64_t to, const int64_t* four) {
                Channels sum{};
                for (int i = 0; i < 4; ++i) {
                    const Channels z = line.z(taken(own, four[i]));
                    sum += passed(z, z);
                }
                (0.25f * sum).into(y + to);
            });
        });
    }
};

template <class In, class Out, class Y>
struct Backward {
    In x;
    const float *mean, *rate, *weight, *bias;
    const Y* by_y;
    Out by_x;
    float *by_weight, *by_bias;  // [B, C]: of each image

    FLATTEN void at(const Place& place, float* own) const {
        x.pack(place, own);
        each_part(place, own, [&](const Place& part, float* own, int) {
            const Line line = known(part, *this);
            Channels sum{}, along{};
            part.each_window([&](int64_t from, const int64_t* four) {
                const Channels quarter = 0.25f * Channels::of(by_y + from);
                for (int i = 0; i < 4; ++i) {
                    const Channels value = taken(own, four[i]);
                    const Channels by_z = passed(line.z(value), quarter);
                    sum += by_z;
                    along += by_z * (value - line.mean);
                }
            });
            along = line.rate * along;
            sum.into(by_bias + part.entry());
            along.into(by_weight + part.entry());
            // Less the means of by_z and of x^ by_z: a straight line of x.
            const Channels share = 1.f / part.sizes.pixels() * line.scale;
            const Channels slope = share * along * line.rate;
            const Channels level = share * sum - slope * line.mean;
            const auto rest = [&](const Channels& value) { return slope * value + level; };
            part.each_window([&](int64_t from, const int64_t* four) {
                const Channels by_line = line.scale * (0.25f * Channels::of(by_y + from));
                for (int i = 0; i < 4; ++i) {
                    const Channels value = taken(own, four[i]);
                    by_x.put(part, four[i], own, passed(line.z(value), by_line) - rest(value));
                }
            });
            part.each_left_out(
                [&](int64_t i) { by_x.put(part, i, own, -1.f * rest(taken(own, i))); });
        });
    }
};

template <class In, class Y>
struct ForwardAlong {
    In x, dx;
    const float *weight, *weight_move, *bias, *bias_move;
    Y *y, *dy;
    float *mean, *rate, *mean_move, *overlap;

    FLATTEN void at(const Place& place, float* own) const {
        const int64_t second = place.sizes.pixels() * STEP;
        const Together centres = x.pack(place, own), centre_moves = dx.pack(place, own + second);
        each_part(place, own, [&](const Place& part, float* own, int k) {
            const float* own_move = own + second;
            const Channels centre = part_of(centres, k), centre_move = part_of(centre_moves, k);
            Channels squares{}, products{};
            for (int64_t i = 0; i < part.sizes.pixels(); ++i) {
                const Channels apart = taken(own, i) - centre;
                squares += apart * apart;
                products += apart * (taken(own_move, i) - centre_move);
            }
            const float share = 1.f / part.sizes.pixels();
            const Channels variance = share * squares;
            const Channels inverse = rate_of(variance);
            const Channels a = share * products * inverse * inverse;
            centre.into(mean + part.entry());
            inverse.into(rate + part.entry());
            centre_move.into(mean_move + part.entry());
            a.into(overlap + part.entry());
            const Line line = known(part, *this);
            const Channels move = Channels::of(weight_move + part.channel);
            const Channels by_x = (move - line.weight * a) * line.rate;
            const Channels rest = Channels::of(bias_move + part.channel) - by_x * line.mean -
                                  line.scale * centre_move;
            part.each_window([&](int64_t to, const int64_t* four) {
                Channels sum{}, sum_move{};
                for (int i = 0; i < 4; ++i) {
                    const Channels value = taken(own, four[i]);
                    const Channels value_move = taken(own_move, four[i]);
                    const Channels z = line.z(value);
                    sum += passed(z, z);
                    sum_move += passed(z, value * by_x + value_move * line.scale + rest);
                }
                (0.25f * sum).into(y + to);
                (0.25f * sum_move).into(dy + to);
            });
        });
    }
};

// With p and q, what <by_y, y> + <by_dy, dy> changes by with z and dz (0 where z <= 0):
//   e = weight p + dw q and weight q by x^ and dx^;
//   a' = -sum(weight q x^) by a;
//   c = e - a weight q + u a' / n by x^ once dx^ is made of x^ and u;
//   rate (weight q - mean(weight q) + x^ a' / n) by dx;
//   rate (c - mean(c) - x^ (sum(e x^) + sum(weight q u) + 3 a a') / n) by x.
template <class In, class Out, class Y>
struct BackwardAlong {
    In x, dx;
    const float *mean, *rate, *mean_move, *overlap, *weight, *weight_move, *bias;
    const Y *by_y, *by_dy;
    Out by_x, by_dx;
    float *by_weight, *by_weight_move, *by_bias, *by_bias_move;  // [B, C]: of each image

    FLATTEN void at(const Place& place, float* own) const {
        const int64_t second = place.sizes.pixels() * STEP;
        x.pack(place, own);
        dx.pack(place, own + second);
        each_part(place, own, [&](const Place& part, float* own, int) {
            float* own_move = own + second;
            const Line line = known(part, *this);
            const Channels centre_move = Channels::of(mean_move + part.entry());
            const Channels a = Channels::of(overlap + part.entry());
            const Channels move = Channels::of(weight_move + part.channel);
            Channels p{}, q{}, p_normal{}, q_normal{}, q_u{};
            part.each_window([&](int64_t from, const int64_t* four) {
                const Channels quarter = 0.25f * Channels::of(by_y + from);
                const Channels quarter_move = 0.25f * Channels::of(by_dy + from);
                for (int i = 0; i < 4; ++i) {
                    const Channels value = taken(own, four[i]), apart = value - line.mean;
                    const Channels z = line.z(value);
                    const Channels by_z = passed(z, quarter), by_dz = passed(z, quarter_move);
                    p += by_z;
                    p_normal += by_z * apart;
                    q += by_dz;
                    q_normal += by_dz * apart;
                    q_u += by_dz * (taken(own_move, four[i]) - centre_move);
                }
            });
            p_normal = line.rate * p_normal;
            q_normal = line.rate * q_normal;
            q_u = line.rate * q_u;
            p.into(by_bias + part.entry());
            q.into(by_bias_move + part.entry());
            (p_normal + q_u - a * q_normal).into(by_weight + part.entry());
            q_normal.into(by_weight_move + part.entry());
            const float share = 1.f / part.sizes.pixels();
            const Channels by_a = -share * line.weight * q_normal;
            const Channels mean_e = share * (line.weight * p + move * q);
            const Channels mean_q = share * line.weight * q;
            const Channels mean_c = mean_e - a * mean_q;
            const Channels along =
                share * (line.weight * (p_normal + q_u) + move * q_normal) + 3.f * a * by_a;
            // But for by_z and by_dz both are straight lines of x, that by x also of dx.
            const Channels bent = line.rate * (move - a * line.weight);
            const Channels slope = line.rate * line.rate * by_a;
            const Channels level = line.rate * mean_q + slope * line.mean;
            const Channels slope_x = line.rate * line.rate * along;
            const Channels level_x = line.rate * mean_c + slope * centre_move - slope_x * line.mean;
            const auto finish = [&](int64_t i, const Channels& value, const Channels& by_x_line,
                                    const Channels& by_dx_line) {
                const Channels value_move = taken(own_move, i);
                by_dx.put(part, i, own_move, by_dx_line + (slope * value - level));
                by_x.put(part, i, own,
                         by_x_line + (slope * value_move - slope_x * value - level_x));
            };
            part.each_window([&](int64_t from, const int64_t* four) {
                const Channels quarter = 0.25f * Channels::of(by_y + from);
                const Channels quarter_move = 0.25f * Channels::of(by_dy + from);
                const Channels by_line = line.scale * quarter + bent * quarter_move;
                const Channels by_line_move = line.scale * quarter_move;
                for (int i = 0; i < 4; ++i) {
                    const Channels value = taken(own, four[i]), z = line.z(value);
                    finish(four[i], value, passed(z, by_line), passed(z, by_line_move));
                }
            });
            part.each_left_out(
                [&](int64_t i) { finish(i, taken(own, i), Channels{}, Channels{}); });
        });
    }
};

}  // namespace
