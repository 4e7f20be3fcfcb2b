// One 5x5 convolution, 2x2 max-pooling and ReLU: pooling forward, and the backward pass of all three, on one thread.
//
// A gradient passes pooling at one position of four, and ReLU removes more of them. The loops visit only the positions
// that have a gradient, and write the gradient of the input once. Maps are channels-last, [B, H, W, K * channels].

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int BYTES = 64;
#else
constexpr int BYTES = 32;
#endif
constexpr int SIDE = 5;    // of a filter
constexpr int TILE = 4;    // images whose values stay in the cache
constexpr int SUMS = 12;   // vectors that are summed in registers at a time
constexpr int NO_PLACE = 4;  // ReLU cuts the gradient of this window

template <typename T> struct Lanes {
    typedef T Vector __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
};

// A row of a filter or patch is SIDE * C values, padded to whole vectors. The padding of a filter is 0; the one of a
// patch is whatever follows, and its sums are not used.
template <typename T, int C> struct Layout {
    static constexpr int LANES = BYTES / sizeof(T), VECTORS = (SIDE * C + LANES - 1) / LANES, ROW = VECTORS * LANES;
    static constexpr int FILTER = SIDE * ROW, ROWS = SUMS / VECTORS < SIDE ? SUMS / VECTORS : SIDE;
};

// to += sum over n of values[n] * (SIDE rows at from + offsets[n]); rows FIRST to FIRST + COUNT - 1.
template <typename T, int C, int FIRST, int COUNT>
inline void add_rows(int n, const T *values, const int *offsets, const T *from, int from_row, T *to, int to_row) {
    typedef typename Lanes<T>::Vector V;
    typedef Layout<T, C> L;
    V sums[COUNT][L::VECTORS] = {};
    from += FIRST * from_row, to += FIRST * to_row;
    for (int i = 0; i < n; i++) {
        const T value = values[i], *start = from + offsets[i];
#pragma GCC unroll 8
        for (int r = 0; r < COUNT; r++)
#pragma GCC unroll 8
            for (int v = 0; v < L::VECTORS; v++) sums[r][v] += value * *(const V *)(start + r * from_row + v * L::LANES);
    }
#pragma GCC unroll 8
    for (int r = 0; r < COUNT; r++)
#pragma GCC unroll 8
        for (int v = 0; v < L::VECTORS; v++) *(V *)(to + r * to_row + v * L::LANES) += sums[r][v];
}

template <typename T, int C, int FIRST = 0>
inline void add(int n, const T *values, const int *offsets, const T *from, int from_row, T *to, int to_row) {
    constexpr int left = SIDE - FIRST, count = left < Layout<T, C>::ROWS ? left : Layout<T, C>::ROWS;
    add_rows<T, C, FIRST, count>(n, values, offsets, from, from_row, to, to_row);
    if constexpr (FIRST + count < SIDE) add<T, C, FIRST + count>(n, values, offsets, from, from_row, to, to_row);
}

// As in PyTorch: the first largest value of a window, or its last NaN.
template <typename T> void pool(const T *maps, T *pooled, uint8_t *places, int B, int H, int W, int C) {
    for (int row = 0; row < B * (H / 2); row++)
        for (int j = 0; j < W / 2; j++) {
            const T *upper = maps + ((size_t)row * 2 * W + 2 * j) * C, *lower = upper + (size_t)W * C;
            T *out = pooled + ((size_t)row * (W / 2) + j) * C;
            uint8_t *place = places + ((size_t)row * (W / 2) + j) * C;
#pragma GCC ivdep
            for (int c = 0; c < C; c++) {
                const T second = upper[C + c], third = lower[c], fourth = lower[C + c];
                T best = upper[c];
                int found = 0;
                bool taken = second > best || second != second;
                best = taken ? second : best, found = taken ? 1 : found;
                taken = third > best || third != third;
                best = taken ? third : best, found = taken ? 2 : found;
                taken = fourth > best || fourth != fourth;
                best = taken ? fourth : best, found = taken ? 3 : found;
                out[c] = best <= 0 ? 0 : best;
                place[c] = best <= 0 ? NO_PLACE : found;
            }
        }
}

template <typename T, int C, int O> class Backward {
    typedef Layout<T, C> L;
    static constexpr int FILTER = L::FILTER;

    const int H, W, K, inputs, h, w, pixels, size;
    std::vector<T> filters, filter_sums, bias_sums, images, input_gradient, values;
    std::vector<int> offsets;

  public:
    Backward(int H, int W, int K, bool shared)
        : H(H), W(W), K(K), inputs(shared ? 1 : K), h((H - SIDE + 1) / 2), w((W - SIDE + 1) / 2), pixels(H * W),
          size(pixels * C + L::LANES), filters((size_t)K * O * FILTER), filter_sums((size_t)K * O * FILTER),
          bias_sums((size_t)K * O), images((size_t)TILE * size), input_gradient(size), values((size_t)O * h * w),
          offsets((size_t)O * h * w) {}

    void run(const T *x, const T *weight, const uint8_t *places, const T *gradient, T *dx, T *dw, T *db, int B) {
        each_weight([&](size_t padded, size_t plain) { filters[padded] = weight[plain]; });
        for (int tile = 0; tile < B; tile += TILE) {
            const int count = B - tile < TILE ? B - tile : TILE;
            for (int k = 0; k < K; k++) {
                if (k < inputs)
                    for (int b = 0; b < count; b++) copy(x + image(tile + b, inputs, k), inputs, &images[b * size], 1);
                for (int b = 0; b < count; b++) {
                    const size_t start = (size_t)(tile + b) * h * w * K * O + (size_t)k * O;
                    filter_gradient(places + start, gradient + start, &images[b * size], k);
                    if (!dx) continue;
                    image_gradient(places + start, gradient + start, k);
                    copy(input_gradient.data(), 1, dx + image(tile + b, K, k), K);
                }
            }
        }
        each_weight([&](size_t padded, size_t plain) { dw[plain] = filter_sums[padded]; });
        std::memcpy(db, bias_sums.data(), bias_sums.size() * sizeof(T));
    }

  private:
    size_t image(int b, int models, int k) const { return (size_t)b * pixels * models * C + (size_t)k * C; }

    int corner(int i, int j, int place) const { return ((2 * i + place / 2) * W + 2 * j + place % 2) * C; }

    void copy(const T *from, int from_models, T *to, int to_models) const {
        for (int p = 0; p < pixels; p++, from += (size_t)from_models * C, to += (size_t)to_models * C)
            for (int c = 0; c < C; c++) to[c] = from[c];
    }

    template <typename Use> void each_weight(Use use) const {
        for (size_t m = 0; m < (size_t)K * O; m++)
            for (int c = 0; c < C; c++)
                for (int r = 0; r < SIDE; r++)
                    for (int s = 0; s < SIDE; s++)
                        use(m * FILTER + r * L::ROW + s * C + c, ((m * C + c) * SIDE + r) * SIDE + s);
    }

    void filter_gradient(const uint8_t *places, const T *gradient, const T *in, int k) {
        const int shift[NO_PLACE + 1] = {0, C, W * C, W * C + C, 0};
        int count[O] = {};
        T sum[O] = {};
        for (int i = 0; i < h; i++)
            for (int j = 0; j < w; j++, places += (size_t)K * O, gradient += (size_t)K * O)
                for (int o = 0; o < O; o++) {
                    const int n = o * h * w + count[o];
                    offsets[n] = corner(i, j, 0) + shift[places[o]];
                    values[n] = gradient[o];
                    count[o] += places[o] < NO_PLACE;
                    sum[o] += places[o] < NO_PLACE ? gradient[o] : 0;
                }
        for (int o = 0; o < O; o++) {
            add<T, C>(count[o], &values[o * h * w], &offsets[o * h * w], in, W * C,
                      &filter_sums[(size_t)(k * O + o) * FILTER], L::ROW);
            bias_sums[k * O + o] += sum[o];
        }
    }

    void image_gradient(const uint8_t *places, const T *gradient, int k) {
        std::memset(input_gradient.data(), 0, size * sizeof(T));
        for (int i = 0; i < h; i++)
            for (int j = 0; j < w; j++, places += (size_t)K * O, gradient += (size_t)K * O) {
                int count[NO_PLACE + 1] = {}, filter[NO_PLACE + 1][O];
                T value[NO_PLACE + 1][O];
                for (int o = 0; o < O; o++) {
                    const int place = places[o], n = count[place]++;
                    filter[place][n] = o * FILTER;
                    value[place][n] = gradient[o];
                }
                for (int place = 0; place < NO_PLACE; place++)
                    if (count[place])
                        add<T, C>(count[place], value[place], filter[place], &filters[(size_t)k * O * FILTER], L::ROW,
                                  &input_gradient[corner(i, j, place)], W * C);
            }
    }
};

}  // namespace

#define FUNCTIONS(T, NAME)                                                                                              \
    void pool_##NAME(const T *maps, T *pooled, uint8_t *places, int B, int H, int W, int C) {                           \
        pool(maps, pooled, places, B, H, W, C);                                                                         \
    }                                                                                                                   \
    void backward1_##NAME(const T *x, const T *weight, const uint8_t *places, const T *gradient, T *dx, T *dw, T *db,   \
                          int B, int H, int W, int K, int shared) {                                                     \
        Backward<T, 3, 6>(H, W, K, shared).run(x, weight, places, gradient, dx, dw, db, B);                             \
    }                                                                                                                   \
    void backward2_##NAME(const T *x, const T *weight, const uint8_t *places, const T *gradient, T *dx, T *dw, T *db,   \
                          int B, int H, int W, int K, int shared) {                                                     \
        Backward<T, 6, 16>(H, W, K, shared).run(x, weight, places, gradient, dx, dw, db, B);                            \
    }

extern "C" {
FUNCTIONS(float, float32)
FUNCTIONS(double, float64)
}
