// Philox4x64-10, a counter-based generator: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//
// The same bits as numpy.random.Philox, which counts up before it makes a block: its first block has counter + 1.
#pragma once
#include "kernel.cuh"

struct Words {
    unsigned long long word[4];
};

__device__ inline Words philox(unsigned long long key0, unsigned long long key1, unsigned long long c0,
                               unsigned long long c1, unsigned long long c2, unsigned long long c3) {
    for (int round = 0; round < 10; ++round) {
        unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ull, c0), low0 = 0xD2E7470EE14C6C93ull * c0;
        unsigned long long high1 = __umul64hi(0xCA5A826395121157ull, c2), low1 = 0xCA5A826395121157ull * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
    return {{c0, c1, c2, c3}};
}

constexpr int PER_BLOCK = 16;  // draws that one counter value gives

// The draws of core.random.Stream: number i of row r is 16 bits of the block
// (first_block + r * blocks a row + i / 16) of the stream.
struct Draws {
    unsigned long long seed, salt, first_block, batch, epoch;
};

// The block at `place`: 16 draws.
__device__ inline Words draw_block(const Draws& draws, unsigned long long place) {
    return philox(draws.seed, draws.salt, draws.first_block + place + 1, 0, draws.batch, draws.epoch);
}

// The k-th of the four draws in a word.
__device__ inline int draw(unsigned long long word, int k) { return static_cast<unsigned short>(word >> 16 * k); }
