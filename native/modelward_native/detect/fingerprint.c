#include <string.h>

#include "fingerprint.h"

void mw_watch_new_day(mw_watch *w, uint32_t day) {
    if (w->day == day && w->multiplier[0][0]) return;
    w->day = day;
    for (uint32_t r = 0; r < MW_WATCH_RESOLUTIONS; r++) {
        const uint64_t epoch = (uint64_t)(day + r) / MW_WATCH_RESOLUTIONS * MW_WATCH_RESOLUTIONS + r;
        w->salt[r] = mw_watch_secret(w, 1, epoch);
        for (uint32_t k = 0; k < MW_WATCH_PER_HASH; k++) {
            const uint64_t number = mw_watch_secret(w, 2 + k, epoch);
            w->offset[r][k] = (float)(number >> 40) / (float)(1 << 24);
            w->multiplier[r][k] = mw_watch_mix(number) | 1;
        }
    }
}

/* Of a row's bytes, sixteen at a time: the two halves of products with secrets (the multiply-and-fold of wyhash). */
static uint64_t hash_of(uint64_t secret, const float *row, size_t n) {
    uint64_t h = secret ^ n, part[2];
    const char *data = (const char *)row;
    size_t left = n * sizeof(float);
    for (; left; left -= left < 16 ? left : 16, data += 16) {
        part[0] = part[1] = 0;
        memcpy(part, data, left < 16 ? left : 16);
        const unsigned __int128 product = (unsigned __int128)(part[0] ^ h) * (part[1] ^ (secret | 1));
        h = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return mw_watch_mix(h);
}

/* ---- projections, compiled once per instruction set ---- */

#define MW_TARGET
#define MW_NAME(f) f##_plain
#include "project.h"

typedef void project_function(const mw_watch *w, const float *row, float v[MW_WATCH_PROJECTIONS]);
typedef void pieces_function(const mw_watch *w, const float *v, float inverse_radius, uint64_t *piece);

#ifndef __x86_64__
static project_function *const project = project_plain;
static pieces_function *const pieces_of = pieces_of_plain;
#else
#define MW_TARGET __attribute__((target("avx2,fma")))
#define MW_NAME(f) f##_avx2
#include "project.h"

#define MW_TARGET __attribute__((target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")))
#define MW_NAME(f) f##_avx512
#include "project.h"

static project_function *project = project_plain;
static pieces_function *pieces_of = pieces_of_plain;

__attribute__((constructor)) static void choose_projection(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        project = project_avx2;
        pieces_of = pieces_of_avx2;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq")) {
        project = project_avx512;
        pieces_of = pieces_of_avx512;
    }
}
#endif

uint64_t mw_watch_piece(const mw_watch *w, int r, const float *v, float scale) {
    return piece_of_plain(w, r, v, scale);
}

/* ---- a row ---- */

static const double P_EDGE[MW_WATCH_P_BINS - 1] = {.7, .5, .35, .2, .1, .05, .02, .01, .005, .001, 1e-4};

static uint8_t bin_of(double p) {
    uint8_t bin = 0;
    for (int i = 0; i < MW_WATCH_P_BINS - 1; i++) bin += p <= P_EDGE[i];
    return bin;
}

static void collect(mw_watch_shared *m, const float *v, const mw_watched *row) {
    if (mw_field_get(m->sampled) >= MW_WATCH_SAMPLE) return;
    const uint32_t place = __atomic_fetch_add(&m->sampled, 1, __ATOMIC_RELAXED);
    if (place >= MW_WATCH_SAMPLE) return;
    mw_watch_sampled *to = &m->sample[place];
    memcpy(to->v, v, sizeof to->v);
    to->row = row->row;
    to->at = row->at;
    __atomic_store_n(&to->written, 1, __ATOMIC_RELEASE);
}

void mw_watch_row(mw_watch *w, const float *row, int32_t columns, int32_t at, int32_t prototype, double p_value,
                  uint64_t identity, mw_watched *out) {
    mw_watch_shared *m = w->shared;
    float v[MW_WATCH_PROJECTIONS];
    out->row = hash_of(w->secret, row, (size_t)w->features + (size_t)columns);
    out->at = (uint16_t)(at >= 0 ? at % MW_WATCH_CELLS : MW_WATCH_CELLS);
    out->place = (uint16_t)(at >= 0 && prototype >= 0 ? prototype % MW_WATCH_PLACES : MW_WATCH_PLACES);
    out->bin = bin_of(p_value);
    out->hashed = 0;
    __builtin_prefetch(m->exact[out->row % MW_WATCH_EXACT_LINES], 1);
    __builtin_prefetch(&m->tables[mw_field_get(m->table) & 1].s[out->place][out->bin]);
    if (out->at == MW_WATCH_CELLS || w->projected == 0) return;
    const uint32_t phase = __atomic_load_n(&m->phase, __ATOMIC_ACQUIRE);
    project(w, row, v);
    if (phase == MW_WATCH_MEASURING) {
        collect(m, v, out);
        return;
    }
    pieces_of(w, v, m->inverse_radius[out->at], out->piece);
    out->hashed = 1;
    for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++) {
        const uint64_t own = r ? 0 : identity;
        out->piece[r] = mw_watch_mix((out->piece[r] ^ own) + out->at * UINT64_C(0xd6e8feb86659fd93));
        __builtin_prefetch(m->piece[r][out->piece[r] % MW_WATCH_LINES], 1);
    }
}
