// A batch made of a data set that lies on the GPU: gathered, cropped, mirrored, holed and normalised in one pass.
#include "philox.cuh"

// The draws that core.random.Stream would make: each row takes the 16 bits of as many blocks as it needs.
__global__ void uniform_draws(unsigned short* out,  // (N, D)
                              int N, int D, unsigned long long seed, unsigned long long salt,
                              unsigned long long first_block, unsigned long long batch, unsigned long long epoch) {
    Draws draws = {seed, salt, first_block, batch, epoch};
    int row_blocks = (D + PER_BLOCK - 1) / PER_BLOCK;
    for (int block = first_element(); block < N * row_blocks; block += all_threads()) {
        Words made = draw_block(draws, block);
        int row = block / row_blocks, first = block % row_blocks * PER_BLOCK;
        for (int i = 0; i < PER_BLOCK; ++i)
            if (first + i < D) out[row * D + first + i] = draw(made.word[i / 4], i % 4);
    }
}

__device__ inline int mirrored(int i, int length) {
    return i < 0 ? -i : i >= length ? 2 * (length - 1) - i : i;
}

// y = (pixel * unit - mean) * inverse_std for images[rows], each of them first
//     shifted by up to `padding` pixels, with `fill` or its own mirror image coming in at the border,
//     mirrored left to right with probability `flip`,
//     blanked with `fill` in a square of `cutout` x `cutout` pixels, which the border may cut off.
// draws: of each image's numbers (65536 stands for 1) two are for the shift, one for the mirror, two for the square;
//     `shift_at`, `flip_at` and `hole_at` say where they stand.
// The product by `unit` is rounded on its own, not fused with the difference: a CPU makes the same batch to the bit.
__global__ void augment_forward(const unsigned char* images,  // (S, H, W, C)
                                const long long* rows,        // (N)
                                const unsigned short* draws,  // (N, 5)
                                const float* mean,            // (C)
                                const float* inverse_std,     // (C)
                                float* y,                     // (N, H, W, C)
                                int S, int N, int H, int W, int C, int padding, bool reflect, float flip, int cutout,
                                float fill, int shift_at, int flip_at, int hole_at, float unit) {
    for (int place = first_element(); place < N * H * W; place += all_threads()) {  // a pixel with all its channels
        int w = place % W, h = place / W % H, n = place / W / H;
        const unsigned short* own = draws + n * 5;
        int top = own[hole_at] * H / 65536 - cutout / 2, left = own[hole_at + 1] * W / 65536 - cutout / 2;
        bool hole = h >= top && h < top + cutout && w >= left && w < left + cutout;
        int from_w = own[flip_at] < flip * 65536 ? W - 1 - w : w;
        int from_h = h + own[shift_at] * (2 * padding + 1) / 65536 - padding;
        from_w += own[shift_at + 1] * (2 * padding + 1) / 65536 - padding;
        if (reflect) {
            from_h = mirrored(from_h, H);
            from_w = mirrored(from_w, W);
        }
        long long row = rows[n];
        bool inside = from_h >= 0 && from_h < H && from_w >= 0 && from_w < W && row >= 0 && row < S;
        const unsigned char* from = inside && !hole ? images + ((row * H + from_h) * W + from_w) * C : nullptr;
        for (int c = 0; c < C; ++c)
            y[place * C + c] = ((from ? __fmul_rn(from[c], unit) : fill) - mean[c]) * inverse_std[c];
    }
}

// Exchanges left and right, in place, in the images that are chosen.
template <typename T>
__global__ void mirror_images(T* x,                // (N, H, W, C)
                              const bool* chosen,  // (N)
                              int N, int H, int W, int C) {
    int half = W / 2;
    for (int i = first_element(); i < N * H * half * C; i += all_threads()) {
        int c = i % C, w = i / C % half, row = i / C / half;
        if (!chosen[row / H]) continue;
        T *left = x + (row * W + w) * C + c, *right = x + (row * W + W - 1 - w) * C + c, was = *left;
        *left = *right;
        *right = was;
    }
}
