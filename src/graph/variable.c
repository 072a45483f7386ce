#include "base/os.h"
#include "graph/graph.h"

hone__derived *hone__find_derived(hone__variable *variable, uint64_t key)
{
    for (hone__derived *d = variable->derived; d; d = d->next)
        if (d->key == key) return d;
    return NULL;
}

hone__derived *hone__derive(hone__variable *variable, uint64_t key, size_t bytes,
                            hone_status (*refresh)(hone__derived *, hone__variable *), void *state,
                            void (*free_state)(void *))
{
    hone__derived *derived = hone__find_derived(variable, key);
    if (derived) {
        if (free_state) free_state(state);
        return derived;
    }
    derived = hone__calloc(variable->ctx, 1, sizeof *derived);
    if (derived && bytes && !(derived->data = hone__alloc(variable->ctx, bytes))) {
        hone__free(variable->ctx, derived);
        derived = NULL;
    }
    if (!derived) {
        if (free_state) free_state(state);
        return NULL;
    }
    derived->key = key;
    derived->bytes = bytes;
    derived->refresh = refresh;
    derived->state = state;
    derived->free_state = free_state;
    derived->next = variable->derived;
    variable->derived = derived;
    return derived;
}

void hone__drop_derived(hone__variable *variable)
{
    for (hone__derived *d = variable->derived, *next; d; d = next) {
        next = d->next;
        if (d->free_state) d->free_state(d->state);
        hone__free(variable->ctx, d->data);
        hone__free(variable->ctx, d);
    }
    variable->derived = NULL;
}

hone_status hone__refresh_derived(hone__derived *derived, hone__variable *variable)
{
    if (derived->version == variable->version) return HONE_OK;
    hone_status status = derived->refresh(derived, variable);
    if (status == HONE_OK) derived->version = variable->version;
    return status;
}

void hone__variable_release(const hone__variable *variable)
{
    hone__map map = {variable->data, variable->mapped};
    if (variable->mapped) hone__map_release(&map, 0, map.size);
}

static hone_status refresh_plain(hone__derived *derived, hone__variable *variable)
{
    hone_dtype dtype = (hone_dtype)(derived->key & 0xFF);
    hone_status status = hone__convert_all(variable->ctx, derived->data, dtype, variable->data, variable->stored,
                                           hone_shape_count(variable->shape));
    hone__variable_release(variable);
    return status;
}

uint64_t hone__plain_key(hone_dtype dtype)
{
    const uint64_t plain = 0x504C4149; /* tells these copies from packed ones, whose keys are hashes */
    return plain << 8 | (uint64_t)dtype;
}

hone__derived *hone__derive_plain(hone__variable *variable, hone_dtype dtype)
{
    size_t bytes = hone__dtype_bytes(dtype, hone_shape_count(variable->shape));
    return hone__derive(variable, hone__plain_key(dtype), bytes, refresh_plain, NULL, NULL);
}
