/* An optimizer in a model's file: its rule, options and groups as JSON. Its state is state.c's. */
#include "train/save.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

/* What a number, a truth or a count in a struct is called in the file. */
typedef struct member {
    const char *name;
    enum { NUMBER, TRUTH, COUNT } type;
    size_t offset;
} member;

/* As they are: 0 is zero. */
static const member members[] = {
#define MEMBER(name, at, type) {name, type, offsetof(hone_optimizer, at)}
    MEMBER("learning_rate", v.learning_rate, NUMBER),
    MEMBER("weight_decay", v.weight_decay, NUMBER),
    MEMBER("momentum", v.momentum, NUMBER),
    MEMBER("beta1", v.beta1, NUMBER),
    MEMBER("beta2", v.beta2, NUMBER),
    MEMBER("epsilon", v.epsilon, NUMBER),
    MEMBER("nesterov", nesterov, TRUTH),
    MEMBER("decoupled", decoupled, TRUTH),
    MEMBER("centered", centered, TRUTH),
    MEMBER("extra", extra, NUMBER),
    MEMBER("initial", initial, NUMBER),
    MEMBER("epsilon2", epsilon2, NUMBER),
    MEMBER("clip_threshold", clip_threshold, NUMBER),
    MEMBER("ns_steps", ns_steps, COUNT),
    MEMBER("match_rms_adamw", match_rms_adamw, TRUTH),
    MEMBER("max_iterations", search.max_iterations, COUNT),
    MEMBER("max_evaluations", search.max_evaluations, COUNT),
    MEMBER("history", search.history, COUNT),
    MEMBER("tolerance_grad", search.tolerance_grad, NUMBER),
    MEMBER("tolerance_change", search.tolerance_change, NUMBER),
    MEMBER("no_line_search", search.no_line_search, TRUTH),
#undef MEMBER
};
/* Options as a user gives them: 0, or not there, is the default and HONE_ZERO zero. */
static const member group_members[] = {
#define MEMBER(name, type) {#name, type, offsetof(hone_group_opts, name)}
    MEMBER(learning_rate_factor, NUMBER), MEMBER(weight_decay, NUMBER), MEMBER(adamw, TRUTH),     MEMBER(l1, NUMBER), MEMBER(l2, NUMBER),
    MEMBER(max_norm, NUMBER),             MEMBER(unit_norm, TRUTH),     MEMBER(non_negative, TRUTH), MEMBER(min_norm, NUMBER),
    MEMBER(norm_rate, NUMBER),
#undef MEMBER
};

static json_t *member_to_json(const member *m, const void *from)
{
    const void *at = (const char *)from + m->offset;
    if (m->type == TRUTH) return json_boolean(*(const bool *)at);
    if (m->type == COUNT) return json_integer(*(const int *)at);
    return json_real(*(const double *)at);
}

static void member_from_json(const member *m, void *to, const json_t *value)
{
    void *at = (char *)to + m->offset;
    if (m->type == TRUTH)
        *(bool *)at = json_is_true(value);
    else if (m->type == COUNT)
        *(int *)at = (int)HONE_MAX(HONE_MIN(json_integer_value(value), (json_int_t)INT_MAX), (json_int_t)INT_MIN);
    else
        *(double *)at = json_number_value(value);
}

static bool is_zero(const member *m, const void *from)
{
    static const char zeros[sizeof(double)] = {0};
    const void *at = (const char *)from + m->offset;
    return !memcmp(at, zeros, m->type == TRUTH ? sizeof(bool) : m->type == COUNT ? sizeof(int) : sizeof(double));
}

static json_t *groups_to_json(const hone_optimizer *o)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t g = 1; g < o->n_groups && ok; g++) {
        json_t *group = json_pack("{s:s}", "pattern", o->groups[g].pattern);
        ok = json_array_append_new(list, group) == 0;
        for (size_t i = 0; i < HONE_ARRAY_LEN(group_members) && ok; i++) {
            const member *m = &group_members[i];
            const hone_group_opts *opts = &o->groups[g].opts;
            if (is_zero(m, opts)) continue;
            const double *number = (const double *)(const void *)((const char *)opts + m->offset);
            json_t *value = m->type == NUMBER ? json_real(hone__choose(*number, 0)) : member_to_json(m, opts);
            ok = json_object_set_new(group, m->name, value) == 0;
        }
    }
    return ok ? list : (json_decref(list), NULL);
}

json_t *hone__optimizer_to_json(const hone_optimizer *o)
{
    json_t *json = json_pack("{s:s, s:I, s:o}", "name", hone_optimizer_name(o), "steps", (json_int_t)o->steps, "groups", groups_to_json(o));
    bool ok = json != NULL;
    for (size_t i = 0; i < HONE_ARRAY_LEN(members) && ok; i++) {
        bool always = members[i].offset < offsetof(hone_optimizer, v) + sizeof o->v;
        if (always || !is_zero(&members[i], o)) ok = json_object_set_new(json, members[i].name, member_to_json(&members[i], o)) == 0;
    }
    return ok ? json : (json_decref(json), NULL);
}

static hone_status add_group(hone_optimizer *o, const json_t *json)
{
    hone_group_opts opts = {.struct_size = sizeof opts};
    for (size_t i = 0; i < HONE_ARRAY_LEN(group_members); i++) {
        const member *m = &group_members[i];
        const json_t *value = json_object_get(json, m->name);
        if (!value) continue;
        member_from_json(m, &opts, value);
        double *at = (double *)(void *)((char *)&opts + m->offset);
        bool choice = m->offset <= offsetof(hone_group_opts, weight_decay); /* where zero is not the default */
        if (m->type == NUMBER && choice && *at == 0) *at = (double)HONE_ZERO;
    }
    return hone_optimizer_group_opt(o, json_string_value(json_object_get(json, "pattern")), &opts);
}

hone_optimizer *hone__optimizer_from_json(hone_ctx *ctx, const char *path, const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const json_t *groups = json_object_get(json, "groups");
    hone_optimizer like = {.rule = name ? hone__rule_find(name) : NULL};
    if (!like.rule) {
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: this version has no optimizer '%.100s'", path, name ? name : "");
        return NULL;
    }
    for (size_t i = 0; i < HONE_ARRAY_LEN(members); i++) member_from_json(&members[i], &like, json_object_get(json, members[i].name));
    hone_optimizer *o = like.rule->again(ctx, &like);
    for (size_t i = 0; o && i < json_array_size(groups); i++)
        if (add_group(o, json_array_get(groups, i)) != HONE_OK) {
            hone_optimizer_free(o);
            o = NULL;
        }
    return o;
}
