/* Layers as JSON, and made again from it:
     {"type": "dense", "name": "0", "options": {"units": 8, "activation": "relu"},
      "initialize": [{"name": "bias", "options": {"initializer": "constant", "value": 0.5}}], "children": []}
   Options that are 0 and empty lists are left out; a functional model has what describe_functional.c says, too. The fields that each kind of layer lists drive both directions. */
#include "nn/nn.h"

#include <jansson.h>

#define HONE_LAYER(name) extern const hone__layer_kind hone__##name##_kind;
#include "nn/layers.def"
#undef HONE_LAYER

static const hone__layer_kind *const kinds[] = {
#define HONE_LAYER(name) &hone__##name##_kind,
#include "nn/layers.def"
#undef HONE_LAYER
};

const hone__layer_kind *const *hone__layer_kinds(size_t *count) { return *count = HONE_ARRAY_LEN(kinds), kinds; }

const hone__layer_kind *hone__find_layer_kind(const char *type)
{
    for (size_t i = 0; type && i < HONE_ARRAY_LEN(kinds); i++)
        if (!strcmp(kinds[i]->type, type)) return kinds[i];
    return NULL;
}

/* ---- enumerations by name ---- */

static const char *const activations[] = {"none", "relu",     "sigmoid",    "tanh",   "gelu", "gelu_tanh",
                                          "silu", "softplus", "leaky_relu", "softmax", "elu", "selu", "celu", "softsign",
                                          "hard_sigmoid", "hard_swish", "hard_tanh", "mish", "relu6", "log_sigmoid",
                                          "log_softmax", "exponential", "tanh_shrink", "soft_shrink", "hard_shrink", "softmin",
                                          "squareplus", "threshold", "rrelu"};
static const char *const initializers[] = {"default",       "zeros",      "ones",      "normal",        "glorot_uniform",
                                           "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "torch_linear",
                                           "lecun_uniform", "uniform", "truncated_normal", "constant", "orthogonal",
                                           "variance_scaling", "identity", "unit_forget"};
static const char *const fans[] = {"in", "out", "average"};
static const char *const distributions[] = {"truncated_normal", "normal", "uniform"};
static const char *const paddings[] = {"valid", "same"};
static const char *const resize_modes[] = {"nearest", "linear", "cubic", "area"};
_Static_assert(HONE_RRELU + 1 == HONE_ARRAY_LEN(activations), "a name for each activation");
_Static_assert(HONE_INIT_UNIT_FORGET + 1 == HONE_ARRAY_LEN(initializers), "a name for each initializer");
_Static_assert(HONE_FAN_AVERAGE + 1 == HONE_ARRAY_LEN(fans), "a name for each fan");
_Static_assert(HONE_DISTRIBUTE_UNIFORM + 1 == HONE_ARRAY_LEN(distributions), "a name for each distribution");
_Static_assert(HONE_SAME + 1 == HONE_ARRAY_LEN(paddings), "a name for each padding");
_Static_assert(HONE_RESIZE_AREA + 1 == HONE_ARRAY_LEN(resize_modes), "a name for each mode");

const char *const *hone__field_values(hone__field_type type, int *count)
{
    switch (type) {
    case HONE__FIELD_ACTIVATION: return *count = HONE_ARRAY_LEN(activations), activations;
    case HONE__FIELD_INITIALIZER: return *count = HONE_ARRAY_LEN(initializers), initializers;
    case HONE__FIELD_FAN: return *count = HONE_ARRAY_LEN(fans), fans;
    case HONE__FIELD_DISTRIBUTION: return *count = HONE_ARRAY_LEN(distributions), distributions;
    case HONE__FIELD_PADDING: return *count = HONE_ARRAY_LEN(paddings), paddings;
    case HONE__FIELD_RESIZE_MODE: return *count = HONE_ARRAY_LEN(resize_modes), resize_modes;
    default: return *count = 0, NULL;
    }
}

/* What a rule of hone_layer_initialize says besides its name. */
static const hone__field initial_fields[] = {HONE__FIELD(hone__initial, "initializer", initializer, INITIALIZER),
                                             HONE__FIELD(hone__initial, "value", opts.value, F64),
                                             HONE__FIELD(hone__initial, "fan", opts.fan, FAN),
                                             HONE__FIELD(hone__initial, "distribution", opts.distribution, DISTRIBUTION),
                                             {0}};

/* ---- writing ---- */

static int list_length(const hone__field *field, const void *at)
{
    return field->type == HONE__FIELD_SHAPE ? ((const hone_shape *)at)->rank : ((const hone_axes *)at)->count;
}

static json_t *list_to_json(const hone__field *field, const void *at)
{
    json_t *list = json_array();
    bool failed = !list;
    for (int i = 0; i < list_length(field, at) && !failed; i++) {
        int64_t value = field->type == HONE__FIELD_SHAPE ? ((const hone_shape *)at)->dim[i] : ((const hone_axes *)at)->axis[i];
        failed = json_array_append_new(list, json_integer((json_int_t)value)) != 0;
    }
    return failed ? json_decref(list), NULL : list;
}

/* NULL: it is 0 and left out, or memory ran out (*failed). */
static json_t *field_to_json(const hone__field *field, const void *from, bool *failed)
{
    const void *at = (const char *)from + field->offset;
    const int64_t *i = at;
    int count, value;
    const char *const *names = hone__field_values(field->type, &count);
    json_t *json = NULL;
    switch (field->type) {
    case HONE__FIELD_I64:
        if (!*i) return NULL;
        json = json_integer((json_int_t)*i);
        break;
    case HONE__FIELD_INT:
        if (!*(const int *)at) return NULL;
        json = json_integer(*(const int *)at);
        break;
    case HONE__FIELD_I64X3:
        if (!i[0] && !i[1] && !i[2]) return NULL;
        json = json_pack("[I, I, I]", (json_int_t)i[0], (json_int_t)i[1], (json_int_t)i[2]);
        break;
    case HONE__FIELD_SHAPE:
    case HONE__FIELD_AXES:
        if (!list_length(field, at)) return NULL;
        json = list_to_json(field, at);
        break;
    case HONE__FIELD_F64:
        if (*(const double *)at == 0) return NULL;
        json = json_real(*(const double *)at);
        break;
    case HONE__FIELD_F64_GIVEN:
        if (*(const double *)at == 0) return NULL;
        json = json_real(hone__choose(*(const double *)at, 0));
        break;
    case HONE__FIELD_F64_ZERO: json = json_real(*(const double *)at); break;
    case HONE__FIELD_BOOL:
        if (!*(const bool *)at) return NULL;
        json = json_true();
        break;
    default: /* an enumeration, an int wide */
        memcpy(&value, at, sizeof value);
        if (!value) return NULL;
        json = value > 0 && value < count ? json_string(names[value]) : NULL;
    }
    *failed |= !json;
    return json;
}

/* A new object; NULL when it cannot be made. fields may be NULL. */
static json_t *fields_to_json(const hone__field *fields, const void *from)
{
    json_t *json = json_object();
    bool failed = !json;
    for (const hone__field *f = fields; f && f->name && !failed; f++) {
        json_t *value = field_to_json(f, from, &failed);
        if (value) failed |= json_object_set_new(json, f->name, value) != 0;
    }
    return failed ? json_decref(json), NULL : json;
}

/* The latest first, as the layer has them. */
static json_t *rules_to_json(const hone_layer *layer)
{
    json_t *list = json_array();
    bool failed = !list;
    for (const struct hone_initial_rule *rule = layer->initials; rule && !failed; rule = rule->next)
        failed = json_array_append_new(list, json_pack("{s:s, s:o}", "name", rule->name, "options",
                                                       fields_to_json(initial_fields, &rule->initial))) != 0;
    return failed ? json_decref(list), NULL : list;
}

static hone_layer *const *children(const hone_layer *layer) { return (hone_layer *const *)layer->children; }

json_t *hone__layer_to_json(const hone_layer *layer)
{
    hone_ctx *ctx = layer->ctx;
    const hone__layer_kind *kind = hone__find_layer_kind(layer->type);
    if (!kind || kind->forward != layer->forward) {
        char *path = hone__layer_path(layer, "");
        hone__fail_run(ctx, HONE_UNSUPPORTED, "layer '%s' is a %s, which cannot be described in a file: only its weights can be saved "
                                              "(hone_model_save_weights)", path ? path : "", layer->type);
        hone__free(ctx, path);
        return NULL;
    }
    json_t *json = json_pack("{s:s, s:o}", "type", layer->type, "options", fields_to_json(kind->fields, layer));
    bool failed = !json;
    if (layer->name) failed |= json_object_set_new(json, "name", json_string(layer->name)) != 0;
    if (layer->checkpointing) failed |= json_object_set_new(json, "checkpointing", json_true()) != 0;
    if (layer->initials) failed |= json_object_set_new(json, "initialize", rules_to_json(layer)) != 0;
    json_t *list = layer->n_children && !failed ? json_array() : NULL;
    if (list) failed |= json_object_set_new(json, "children", list) != 0;
    for (size_t i = 0; list && i < layer->n_children && !failed; i++) {
        json_t *child = hone__layer_to_json(children(layer)[i]);
        if (!child) return json_decref(json), NULL; /* told */
        failed |= json_array_append_new(list, child) != 0;
    }
    if (!failed && kind == &hone__functional_kind && !hone__functional_to_json(layer, json)) return json_decref(json), NULL; /* told */
    if (!failed) return json;
    json_decref(json);
    hone__fail_run(ctx, HONE_INVALID, "layer '%s': its options cannot be written as JSON", layer->name ? layer->name : layer->type);
    return NULL;
}

/* ---- reading: the text is untrusted ---- */

enum { MOST = 1 << 24 }; /* of an integer: more than any layer has, and products of two do not overflow */

static bool integer_from_json(const json_t *json, int64_t *to)
{
    json_int_t value = json_integer_value(json);
    *to = (int64_t)value;
    return json_is_integer(json) && value >= -MOST && value <= MOST;
}

static bool list_from_json(const hone__field *field, const json_t *json, void *at)
{
    hone_shape shape = {.rank = (int)HONE_MIN(json_array_size(json), (size_t)HONE_MAX_RANK)};
    hone_axes axes = {.count = shape.rank};
    if (!json_is_array(json) || json_array_size(json) > HONE_MAX_RANK) return false;
    for (int i = 0; i < shape.rank; i++) {
        if (!integer_from_json(json_array_get(json, (size_t)i), &shape.dim[i])) return false;
        axes.axis[i] = (int)shape.dim[i];
    }
    if (field->type == HONE__FIELD_SHAPE)
        *(hone_shape *)at = shape;
    else
        *(hone_axes *)at = axes;
    return true;
}

static bool field_from_json(const hone__field *field, const json_t *json, void *to)
{
    void *at = (char *)to + field->offset;
    int64_t *i = at;
    int count;
    const char *const *names = hone__field_values(field->type, &count);
    switch (field->type) {
    case HONE__FIELD_I64: return integer_from_json(json, i);
    case HONE__FIELD_INT: {
        int64_t value;
        return integer_from_json(json, &value) && (*(int *)at = (int)value, true);
    }
    case HONE__FIELD_I64X3:
        for (size_t k = 0; k < 3; k++)
            if (!integer_from_json(json_array_get(json, k), &i[k])) return false;
        return json_array_size(json) == 3;
    case HONE__FIELD_SHAPE:
    case HONE__FIELD_AXES: return list_from_json(field, json, at);
    case HONE__FIELD_F64: return *(double *)at = json_number_value(json), json_is_number(json);
    case HONE__FIELD_F64_GIVEN:
    case HONE__FIELD_F64_ZERO:
        *(double *)at = json_number_value(json) == 0 ? (double)HONE_ZERO : json_number_value(json);
        return json_is_number(json);
    case HONE__FIELD_BOOL: return *(bool *)at = json_is_true(json), json_is_boolean(json);
    default:
        for (int k = 0; k < count && json_is_string(json); k++)
            if (!strcmp(names[k], json_string_value(json))) return memcpy(at, &k, sizeof k), true;
        return false;
    }
}

/* The first key that is unknown or has a wrong value; NULL: none. */
static const char *fields_from_json(const hone__field *fields, const json_t *json, void *to)
{
    const char *key, *bad = NULL;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const hone__field *f = fields;
        while (f && f->name && strcmp(f->name, key) != 0) f++;
        if (!bad && !(f && f->name && field_from_json(f, value, to))) bad = key;
    }
    return bad;
}

static bool refuse(hone_ctx *ctx, const char *type, const char *what)
{
    hone__fail(ctx, HONE_FORMAT, "layer of type '%.100s': %.100s", type ? type : "?", what);
    return false;
}

static hone_layer *make(hone_ctx *ctx, const hone__layer_kind *kind, const json_t *options)
{
    hone_layer *like = hone__calloc(ctx, 1, kind->size), *layer = NULL;
    if (!like) return NULL;
    like->type = kind->type;
    const char *bad = fields_from_json(kind->fields, options, like);
    const json_t *value = bad ? json_object_get(options, bad) : NULL;
    if (json_is_integer(value) && (json_integer_value(value) > MOST || json_integer_value(value) < -MOST))
        hone__fail(ctx, HONE_FORMAT, "layer of type '%s': option '%.100s' is %lld; at most %d is possible", kind->type, bad,
                   (long long)json_integer_value(value), (int)MOST);
    else if (bad)
        hone__fail(ctx, HONE_FORMAT, "layer of type '%s': option '%.100s' is unknown or its value is wrong", kind->type, bad);
    else
        layer = kind->again(ctx, like);
    hone__free(ctx, like);
    return layer;
}

static bool take_rules(hone_layer *layer, const json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *rule = json_array_get(list, i);
        hone__initial initial = {0};
        if (fields_from_json(initial_fields, json_object_get(rule, "options"), &initial))
            return refuse(layer->ctx, layer->type, "a rule of how parameters begin is wrong");
        const char *name = json_string_value(json_object_get(rule, "name"));
        if (hone_layer_initialize_opt(layer, name, initial.initializer, &initial.opts) != HONE_OK) return false;
    }
    return true;
}

/* What a layer has besides its options. false: told. */
static bool fill(hone_layer *layer, const json_t *json)
{
    layer->checkpointing = json_is_true(json_object_get(json, "checkpointing"));
    const json_t *list = json_object_get(json, "children");
    if (!take_rules(layer, json_object_get(json, "initialize"))) return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *child = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(child, "name"));
        if (!name || !name[0] || strchr(name, '.')) return refuse(layer->ctx, layer->type, "a child's name is missing or wrong");
        const hone__layer_kind *kind = hone__find_layer_kind(json_string_value(json_object_get(child, "type")));
        if (kind == &hone__functional_kind) return refuse(layer->ctx, layer->type, "a functional model cannot be part of a layer");
        hone_layer *there = hone__layer_find(layer, name), *made; /* there: its parent's constructor made it */
        if (there && kind != hone__find_layer_kind(there->type))
            return refuse(layer->ctx, layer->type, "a child is of another type than such a layer has");
        if (there && !fill(there, child)) return false;
        if (!there && (!(made = hone__layer_from_json(layer->ctx, child)) || !hone_layer_add(layer, name, made))) return false;
    }
    return !hone__is_functional(layer) || hone__functional_from_json(layer, json);
}

hone_layer *hone__layer_from_json(hone_ctx *ctx, const json_t *json)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    const hone__layer_kind *kind = hone__find_layer_kind(type);
    if (!kind) return refuse(ctx, type, "this version has no such layer"), NULL;
    hone_layer *layer = make(ctx, kind, json_object_get(json, "options"));
    if (layer && fill(layer, json)) return layer;
    hone_layer_free(layer);
    return NULL;
}
