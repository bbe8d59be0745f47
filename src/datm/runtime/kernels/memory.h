// Memory to work in.

#pragma once

#include <cstdint>
#include <cstdlib>

namespace {

int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Memory of a thread that it keeps between calls.
struct Scratch {
    float* data = nullptr;
    size_t size = 0;
    float* of(size_t floats) {
        if (floats > size) {
            std::free(data);
            data = static_cast<float*>(std::aligned_alloc(64, up(floats * sizeof(float), 64)));
            size = data ? floats : 0;
        }
        return data;
    }
    ~Scratch() { std::free(data); }
};
thread_local Scratch scratch;

}  // namespace
