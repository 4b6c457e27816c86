/* tensor/attention_map.c - offset maps: key position minus query position -> row of a table (clamped tables, T5 buckets).
 * T5: Raffel et al. 2020, relative position buckets; the float steps follow the published code (f32 logarithms). */
#include <math.h>

#include "tensor/attention.h"

ed_offset_map ed_offset_map_clamp(int32_t n_max) {
    int32_t n = n_max < 1 ? 1 : n_max > (1 << 29) ? 1 << 29 : n_max;
    return (ed_offset_map){.lo = 1 - n, .hi = n - 1, .bucket = NULL, .n = 2 * n - 1};
}

static int32_t t5_side(int64_t distance, int32_t buckets, int32_t max_distance) {
    int32_t exact = buckets / 2;
    if (distance < exact)
        return (int32_t)distance;
    float step = logf((float)distance / (float)exact) / logf((float)max_distance / (float)exact) * (float)(buckets - exact);
    int32_t b = exact + (int32_t)step;
    return b < buckets ? b : buckets - 1;
}

ed_status ed_offset_map_t5(ed_arena *arena, bool two_sided, int32_t buckets, int32_t max_distance, ed_offset_map *out) {
    int32_t side = two_sided ? buckets / 2 : buckets;
    if (side < 2 || buckets > 65536 || max_distance <= side / 2 || max_distance > (1 << 22) || (two_sided && buckets % 2))
        return ED_E_INVALID;
    int32_t *b = ed_arena_alloc(arena, sizeof *b * (size_t)(2 * max_distance + 1));
    if (!b)
        return ED_E_MEMORY;
    for (int32_t off = -max_distance; off <= max_distance; off++) {
        int32_t v = off > 0 ? (two_sided ? side + t5_side(off, side, max_distance) : 0) : t5_side(-(int64_t)off, side, max_distance);
        b[off + max_distance] = v;
    }
    *out = (ed_offset_map){.lo = -max_distance, .hi = max_distance, .bucket = b, .n = buckets};
    return ED_OK;
}

int32_t ed_offset_map_at(const ed_offset_map *m, int64_t offset) {
    int64_t o = offset < m->lo ? m->lo : offset > m->hi ? m->hi : offset;
    return m->bucket ? m->bucket[o - m->lo] : (int32_t)(o - m->lo);
}

bool ed__map_valid(const ed_offset_map *m, int64_t rows) {
    if (m->hi < m->lo || rows != m->n)
        return false;
    int64_t span = (int64_t)m->hi - m->lo + 1;
    if (!m->bucket)
        return span == m->n;
    for (int64_t i = 0; i < span; i++) {
        if (m->bucket[i] < 0 || m->bucket[i] >= m->n)
            return false;
    }
    return true;
}
