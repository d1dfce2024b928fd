// The threads of a block as fibers: each has a stack of its own, runs until it has to wait for others, and then lets the
// next one run. So barriers and warp functions do what they do on a GPU. Blocks run one after the other. What is undefined
// on a GPU stops the launch with a message.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <numeric>
#include <sys/mman.h>
#include <tuple>
#include <ucontext.h>
#include <utility>

struct uint3 { unsigned x, y, z; };
using dim3 = uint3;
static uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

constexpr int MOST_THREADS = 1024, STACK = 64 << 10, SLOT = 48;

enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Fiber {
    void* stack_pointer;  // where it goes on; with ucontext, see `contexts`
    State state;
    int line;  // of what it waits for
};

struct Warp {  // a meeting of the lanes of one warp
    unsigned mask, arrived;
    int line, turn;
    unsigned char values[2][32][SLOT];  // two in turn: nobody writes the next one while another still reads the last
};

static Fiber fibers[MOST_THREADS];
static Warp warps[MOST_THREADS / 32];
static int current, count;
static char* stacks;
static char problem[400];
static void (*kernel)(void**);
static void** arguments;
alignas(64) static unsigned char dynamic_shared[48 << 10];

inline int lane() { return current % 32; }

// -- switching from one fiber to another --------------------------------------------------------------------------
#if defined(__x86_64__)
// Saves what the calling convention says a function must keep, and goes on where the other stack stopped.
extern "C" void shim_switch(void** save, void* go_on);
asm(R"(
.pushsection .text
.local shim_switch
shim_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
.popsection
)");
static void* scheduler;
static void body();
inline void prepare(int t) {
    void** top = reinterpret_cast<void**>(stacks + size_t(t + 1) * STACK) - 2;
    top[0] = reinterpret_cast<void*>(&body);  // the address that `ret` takes
    top[1] = nullptr;
    fibers[t].stack_pointer = top - 6;  // six registers, of any value
}
inline void resume(int t) { shim_switch(&scheduler, fibers[t].stack_pointer); }
inline void yield() { shim_switch(&fibers[current].stack_pointer, scheduler); }
#else  // other processors
static ucontext_t contexts[MOST_THREADS], scheduler;
static void body();
inline void prepare(int t) {
    getcontext(&contexts[t]);
    contexts[t].uc_stack.ss_sp = stacks + size_t(t) * STACK;
    contexts[t].uc_stack.ss_size = STACK;
    contexts[t].uc_link = nullptr;
    makecontext(&contexts[t], body, 0);
}
inline void resume(int t) { swapcontext(&scheduler, &contexts[t]); }
inline void yield() { swapcontext(&contexts[current], &scheduler); }
#endif

static void body() {
    kernel(arguments);
    fibers[current].state = DONE;
    yield();
    abort();  // a fiber that is done is never resumed
}

template <typename... Numbers>
void complain(const char* format, Numbers... numbers) {
    if (!problem[0]) snprintf(problem, sizeof problem, format, numbers...);
}

// -- what the threads of a block do together ----------------------------------------------------------------------
inline void wait(State state, int line) {
    fibers[current].state = state;
    fibers[current].line = line;
    yield();
}

inline void barrier(int line) { wait(AT_BARRIER, line); }

// Leave a value, and wait for the others; returns what all lanes have left.
inline unsigned char (*meet(int line, unsigned mask, const void* value, size_t size))[SLOT] {
    Warp& warp = warps[current / 32];
    if (!(mask >> lane() & 1)) complain("line %d: lane %d is not in its own mask", line, lane());
    if (!warp.arrived) {
        warp.mask = mask;
        warp.line = line;
        warp.turn ^= 1;
    }
    if (warp.mask != mask || warp.line != line)
        complain("lanes of one warp meet in lines %d and %d, or with different masks", warp.line, line);
    auto values = warp.values[warp.turn];
    memcpy(values[lane()], value, size);
    warp.arrived |= 1u << lane();
    if (warp.arrived != warp.mask) {
        wait(IN_WARP, line);
    } else {
        warp.arrived = 0;
        for (int t = current / 32 * 32; t < count && t < current / 32 * 32 + 32; ++t)
            if (fibers[t].state == IN_WARP) fibers[t].state = READY;
    }
    return values;
}

inline void sync_warp(int line, unsigned mask = 0xffffffffu) {
    char nothing = 0;
    meet(line, mask, &nothing, 1);
}

template <typename V>
V exchange(int line, unsigned mask, V value, int from) {
    static_assert(sizeof(V) <= 8, "a shuffle takes up to 8 bytes");
    auto values = meet(line, mask, &value, sizeof value);
    if (from < 0 || from > 31) return value;
    if (!(mask >> from & 1)) complain("line %d: lane %d is read, but not in the mask", line, from);
    V result;
    memcpy(&result, values[from], sizeof result);
    return result;
}

inline unsigned ballot(int line, unsigned mask, bool condition) {
    auto values = meet(line, mask, &condition, 1);
    unsigned votes = 0;
    for (int l = 0; l < 32; ++l)
        if (mask >> l & 1) votes |= unsigned(values[l][0]) << l;
    return votes;
}

// mma.m16n8k16: sums += A B, with A (16, 16) and B (16, 8) of H from all lanes, and the sums among the lanes, as the PTX
// ISA lays them out.
template <typename H>
void multiply_16_8_16(int line, float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Brought {
        float a[8], b[4];
    } own;
    H halves[12];
    memcpy(halves, a, sizeof a);
    memcpy(halves + 8, b, sizeof b);
    for (int i = 0; i < 12; ++i) (i < 8 ? own.a[i] : own.b[i - 8]) = float(halves[i]);
    auto brought = reinterpret_cast<const Brought*>(meet(line, 0xffffffffu, &own, sizeof own));
    for (int part = 0; part < 4; ++part) {
        int row = lane() / 4 + part / 2 * 8, column = lane() % 4 * 2 + part % 2;
        const Brought *of_row = brought + row % 8 * 4, *of_column = brought + column * 4;  // each with three lanes more
        float sum = sums[part];
#pragma GCC unroll 16
        for (int k = 0; k < 16; ++k)
            sum += of_row[k % 8 / 2].a[k / 8 * 4 + row / 8 * 2 + k % 2] * of_column[k % 8 / 2].b[k / 8 * 2 + k % 2];
        sums[part] = sum;
    }
}

// ldmatrix.x4: of four matrices of 8 x 8, whose lines begin where the lanes say, the pair that is this lane's of each.
template <typename H>
void load_matrices(int line, bool transposed, unsigned (&found)[4], const H* own) {
    auto values = meet(line, 0xffffffffu, &own, sizeof own);
    for (int matrix = 0; matrix < 4; ++matrix)
        for (int i = 0; i < 2; ++i) {
            int row = lane() / 4, column = lane() % 4 * 2 + i;
            if (transposed) std::swap(row, column);
            const H* first;
            memcpy(&first, values[8 * matrix + row], sizeof first);
            memcpy(reinterpret_cast<H*>(&found[matrix]) + i, first + column, sizeof(H));
        }
}

// -- running a grid -----------------------------------------------------------------------------------------------
struct Entry {
    const char* name;
    void (*call)(void**);
};
extern const Entry entries[];

template <typename... A, size_t... I>
void apply(void (*function)(A...), void** given, std::index_sequence<I...>) {
    function(*static_cast<A*>(given[I])...);
}
template <typename... A>
void apply(void (*function)(A...), void** given) {
    apply(function, given, std::index_sequence_for<A...>{});
}
template <auto Function>
void call(void** given) { apply(Function, given); }

inline void set_thread(int t) {
    current = t;
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
}

// Which of n comes at place i: as they are, the other way round, or mixed up by a step that has no factor with n.
inline long place_of(long i, long n, int order) {
    if (order == 0) return i;
    if (order == 1) return n - 1 - i;
    long step = n / 2 + 1;
    while (std::gcd(step, n) != 1) ++step;
    return (i * step + n / 3) % n;
}

// Who is behind whom at a barrier, in words; called when nobody can go on.
inline void explain() {
    int waiting = -1, other = -1;
    for (int t = 0; t < count; ++t)
        if (fibers[t].state != DONE) waiting = t;
    for (int t = 0; t < count; ++t)
        if (fibers[t].state != fibers[waiting].state || fibers[t].line != fibers[waiting].line) other = t;
    const char* what = fibers[waiting].state == AT_BARRIER ? "at the barrier" : "for its warp";
    unsigned mask = warps[waiting / 32].mask;
    if (fibers[waiting].state == IN_WARP && waiting / 32 == count / 32 && mask >> count % 32)
        complain("thread %d waits in line %d for lanes that do not exist: the block is no multiple of 32 threads",
                 waiting, fibers[waiting].line);
    else if (fibers[other].state == DONE)
        complain("thread %d waits %s in line %d, which thread %d never reached", waiting, what, fibers[waiting].line,
                 other);
    else
        complain("thread %d waits %s in line %d while thread %d waits in line %d", waiting, what, fibers[waiting].line,
                 other, fibers[other].line);
}

// Shared memory holds whatever it likes when a block begins: here, what is no number.
static thread_local unsigned char first_shared;
static char* thread_memory;  // all thread-local variables of this library, which are nothing but shared memory
static size_t thread_memory_size;

inline int note_shared_memory(dl_phdr_info* info, size_t, void*) {
    char *base = reinterpret_cast<char*>(info->dlpi_addr), *here = reinterpret_cast<char*>(&note_shared_memory);
    for (int i = 0; i < info->dlpi_phnum; ++i)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && here >= base + info->dlpi_phdr[i].p_vaddr &&
            here < base + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz)
            for (int j = 0; j < info->dlpi_phnum; ++j)
                if (info->dlpi_phdr[j].p_type == PT_TLS && info->dlpi_tls_data) {
                    thread_memory = static_cast<char*>(info->dlpi_tls_data);
                    thread_memory_size = info->dlpi_phdr[j].p_memsz;
                }
    return 0;
}

inline void find_shared_memory() {
    first_shared = 0;  // so that this thread has it
    dl_iterate_phdr(note_shared_memory, nullptr);
}

inline void forget_shared_memory() {
    memset(thread_memory, 0xff, thread_memory_size);
    memset(dynamic_shared, 0xff, sizeof dynamic_shared);
}

inline void run_block(int order) {
    for (int t = 0; t < count; ++t) {
        fibers[t].state = READY;
        prepare(t);
    }
    memset(warps, 0, sizeof warps);
    forget_shared_memory();
    for (;;) {
        bool moved = false;
        int done = 0, at_barrier = 0, line = 0;
        for (int i = 0; i < count; ++i) {
            int t = place_of(i, count, order);
            if (fibers[t].state != READY) continue;
            set_thread(t);
            resume(t);
            moved = true;
            if (problem[0]) return;
        }
        if (moved) continue;
        for (int t = 0; t < count; ++t) {
            done += fibers[t].state == DONE;
            if (fibers[t].state == AT_BARRIER && (!at_barrier || fibers[t].line == line)) {
                line = fibers[t].line;
                ++at_barrier;
            }
        }
        if (done == count) return;
        if (at_barrier != count) return explain();
        for (int t = 0; t < count; ++t) fibers[t].state = READY;
    }
}

}  // namespace shim

extern "C" int shim_launch(const char* name, const unsigned* grid, const unsigned* block, size_t shared, void** given,
                           int order, char* message, int length) {
    using namespace shim;
    const Entry* entry = entries;
    while (entry->name && strcmp(entry->name, name)) ++entry;
    problem[0] = 0;
    if (!entry->name) complain("there is no such kernel in this library");
    if (shared > sizeof dynamic_shared) complain("too much shared memory");
    if (!stacks) stacks = static_cast<char*>(mmap(nullptr, size_t(MOST_THREADS) * STACK, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    find_shared_memory();
    kernel = entry->call;
    arguments = given;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    count = block[0] * block[1] * block[2];
    long blocks = long(grid[0]) * grid[1] * grid[2];
    for (long i = 0; i < blocks && !problem[0]; ++i) {
        long b = place_of(i, blocks, order);
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
        run_block(order);
    }
    snprintf(message, length, "%s", problem);
    return problem[0] != 0;
}
