/* Functional models as JSON, beside their children, which are the layers that they apply:
     "inputs": [{"dtype": "f32", "shape": [{"batch": 1}, 4]}],
     "steps": [{"layer": "dense", "in": [0]}, {"op": "sum", "in": [1], "attr": {"axes": [1], "keep_dims": false}}],
     "output": 2
   or, of several, "outputs": [2, 1].
   Values are numbered: the inputs, then what each step gives; null is an input that is absent. A layer's "train" is the mode of
   hone_apply_mode. {"batch": 8} in a shape is 8 times the batch. */
#include "nn/nn.h"
#include "op/op.h"

#include <jansson.h>
#include <math.h>

/* The ops that can stand between layers in a file: their shape functions check attributes whatever these are, and each gives one
   value. What has weights stands in a layer. */
static const hone_op *const ops[] = {
    &hone__op_fill, &hone__op_cast, &hone__op_matmul, &hone__op_add, &hone__op_sub, &hone__op_mul, &hone__op_div, &hone__op_pow,
    &hone__op_maximum, &hone__op_minimum, &hone__op_unary, &hone__op_compare, &hone__op_where, &hone__op_sum, &hone__op_mean,
    &hone__op_max, &hone__op_min, &hone__op_argmax, &hone__op_reshape, &hone__op_transpose, &hone__op_slice,
    &hone__op_broadcast_to, &hone__op_concatenate, &hone__op_pad, &hone__op_gather, &hone__op_one_hot, &hone__op_softmax,
    &hone__op_log_softmax, &hone__op_dropout, &hone__op_swiglu};

static const char *const unary[] = {"neg", "exp", "log", "sqrt", "rsqrt", "abs", "sign", "sin", "cos", "square", "reciprocal",
                                    "sigmoid", "tanh", "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "softplus", "clamp",
                                    "affine", "elu"};
static const char *const comparisons[] = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"};
_Static_assert(HONE__ELU + 1 == HONE_ARRAY_LEN(unary), "a name for each function");
_Static_assert(HONE__GE + 1 == HONE_ARRAY_LEN(comparisons), "a name for each comparison");

/* The one integer of these ops is a number of a list. */
static const char *const *names_of(const hone_op *op, int *count)
{
    if (op == &hone__op_unary) return *count = HONE_ARRAY_LEN(unary), unary;
    if (op == &hone__op_compare) return *count = HONE_ARRAY_LEN(comparisons), comparisons;
    return *count = 0, NULL;
}

static const hone_op *find_op(const char *name)
{
    for (size_t i = 0; name && i < HONE_ARRAY_LEN(ops); i++)
        if (!strcmp(ops[i]->name, name)) return ops[i];
    return NULL;
}

/* ---- writing: what jansson cannot make is NULL, which json_pack hands on ---- */

static json_t *shape_to_json(const hone_shape *shape)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int d = 0; d < shape->rank && ok; d++) {
        json_int_t size = (json_int_t)shape->dim[d];
        bool batch = size > 0 && size % HONE_BATCH == 0;
        ok = json_array_append_new(list, batch ? json_pack("{s:I}", "batch", (json_int_t)(size / HONE_BATCH)) : json_integer(size)) == 0;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *axes_to_json(const hone_axes *axes)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; i < axes->count && ok; i++) ok = json_array_append_new(list, json_integer(axes->axis[i])) == 0;
    return ok ? list : (json_decref(list), NULL);
}

/* JSON has no infinities: a mask may. */
static json_t *real_to_json(double value)
{
    return isinf(value) ? json_string(value < 0 ? "-inf" : "inf") : json_real(value);
}

static json_t *attr_to_json(const hone_op *op, const hone__attr *a, const void *attr)
{
    const void *at = (const char *)attr + a->offset;
    int count;
    const char *const *names = names_of(op, &count);
    switch (a->type) {
    case HONE__ATTR_BOOL: return json_boolean(*(const bool *)at);
    case HONE__ATTR_INT: return names ? json_string(names[*(const int *)at]) : json_integer(*(const int *)at);
    case HONE__ATTR_I64: return *(const int64_t *)at == HONE_END ? json_null() : json_integer((json_int_t)*(const int64_t *)at);
    case HONE__ATTR_F64: return real_to_json(*(const double *)at);
    case HONE__ATTR_DTYPE: return json_string(hone_dtype_name(*(const hone_dtype *)at));
    case HONE__ATTR_AXES: return axes_to_json(at);
    case HONE__ATTR_SHAPE: return shape_to_json(at);
    }
    return NULL;
}

static json_t *attrs_to_json(const hone__call *call)
{
    json_t *json = json_object();
    bool ok = json != NULL;
    for (const hone__attr *a = call->op->attrs; a && a->name && ok; a++)
        ok = json_object_set_new(json, a->name, attr_to_json(call->op, a, call->attr)) == 0;
    return ok ? json : (json_decref(json), NULL);
}

typedef struct writing {
    const hone__functional *f;
    int *number; /* of each node, -1 for what no step gives */
    bool told;   /* why it failed */
} writing;

static json_t *in_to_json(writing *w, const char *reader, int n, hone_node *const *in)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; i < n && ok; i++) {
        if (in[i] && w->number[in[i]->id] < 0) {
            w->told = true;
            hone__fail_run(w->f->base.ctx, HONE_UNSUPPORTED, "functional model: '%s' reads what op '%s' gives, which cannot be described in a file: it "
                                                  "is within a layer, or no input of the model", reader, in[i]->call->op->name);
            return json_decref(list), NULL;
        }
        ok = json_array_append_new(list, in[i] ? json_integer(w->number[in[i]->id]) : json_null()) == 0;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *step_of_op(writing *w, const hone__call *call)
{
    const char *name = call->op->name;
    if (find_op(name))
        return json_pack("{s:s, s:o, s:o}", "op", name, "in", in_to_json(w, name, call->n_in, call->in), "attr", attrs_to_json(call));
    w->told = true;
    hone__fail_run(w->f->base.ctx, HONE_UNSUPPORTED, "functional model: op '%s' between its layers cannot be described in a file: only its weights can be "
                                          "saved (hone_model_save_weights)", name);
    return NULL;
}

static json_t *step_of_layer(writing *w, const hone__application *a)
{
    const char *name = ((const hone_layer *)a->layer)->name;
    json_t *step = json_pack("{s:s, s:o}", "layer", name, "in", in_to_json(w, name, a->n_in, a->in));
    if (step && a->mode != HONE__MODE_OF_GRAPH && json_object_set_new(step, "train", json_boolean(a->mode == HONE_TRAIN)) != 0)
        return json_decref(step), NULL;
    return step;
}

/* The same walk as that of functional.c's forward. */
static json_t *steps_to_json(writing *w)
{
    const hone_graph *recipe = w->f->recipe;
    json_t *list = json_array();
    bool ok = list != NULL;
    int values = w->f->n_inputs;
    size_t next = 0;
    for (size_t c = 0; ok && (c < recipe->n_calls || next < recipe->n_applications);) {
        const hone__application *a = next < recipe->n_applications ? &recipe->applications[next] : NULL;
        bool applied = a && a->first == c;
        const hone__call *call = applied ? NULL : recipe->calls[c];
        c = applied ? a->last : c + 1;
        next += applied;
        if (call && call->op == &hone__op_input) continue;
        ok = json_array_append_new(list, applied ? step_of_layer(w, a) : step_of_op(w, call)) == 0;
        w->number[applied ? a->out->id : call->out[0].id] = values++;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *inputs_to_json(const hone__functional *f)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; i < f->n_inputs && ok; i++)
        ok = json_array_append_new(list, json_pack("{s:s, s:o}", "dtype", hone_dtype_name(f->inputs[i]->dtype), "shape",
                                                   shape_to_json(&f->inputs[i]->shape))) == 0;
    return ok ? list : (json_decref(list), NULL);
}

/* Their values' numbers; NULL when one is within a layer. */
static json_t *outputs_to_json(const writing *w)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; i < w->f->n_outputs && ok; i++) {
        int value = w->number[w->f->outputs[i]->id];
        ok = value >= 0 && json_array_append_new(list, json_integer(value)) == 0;
    }
    return ok ? list : (json_decref(list), NULL);
}

bool hone__functional_to_json(const hone_layer *layer, json_t *json)
{
    writing w = {.f = (const hone__functional *)(const void *)layer};
    size_t nodes = (size_t)w.f->recipe->n_nodes;
    if (!w.f->n_outputs) return hone__fail_run(layer->ctx, HONE_UNSUPPORTED, "functional model: it has no graph"), false;
    if (!(w.number = hone__alloc(layer->ctx, nodes * sizeof *w.number))) return false;
    for (size_t i = 0; i < nodes; i++) w.number[i] = -1;
    for (int i = 0; i < w.f->n_inputs; i++) w.number[w.f->inputs[i]->id] = i;
    bool ok = json_object_set_new(json, "inputs", inputs_to_json(w.f)) == 0 && json_object_set_new(json, "steps", steps_to_json(&w)) == 0;
    json_t *outputs = outputs_to_json(&w);
    hone__free(layer->ctx, w.number);
    if (w.f->n_outputs > 1)
        ok = json_object_set_new(json, "outputs", outputs) == 0 && ok;
    else
        ok = json_object_set(json, "output", json_array_get(outputs, 0)) == 0 && ok, json_decref(outputs);
    if (!ok && !w.told)
        hone__fail_run(layer->ctx, HONE_UNSUPPORTED, "functional model: a number between its layers is NaN, a name no UTF-8, or an output "
                                                     "within a layer: only its weights can be saved (hone_model_save_weights)");
    return ok;
}

/* ---- reading: the text is untrusted ---- */

/* Below them no layer's and no op's sizes overflow. */
enum { MOST_INT = 1 << 24, MOST_INPUTS = 16, MOST_IN = 1024 };
static const int64_t most_size = INT64_C(1) << 40, most_values = INT64_C(1) << 48;

static bool bounded(const json_t *json, int64_t least, int64_t most, int64_t *to)
{
    *to = (int64_t)json_integer_value(json);
    return json_is_integer(json) && *to >= least && *to <= most;
}

static bool shape_from_json(const json_t *json, hone_shape *to)
{
    *to = (hone_shape){.rank = (int)HONE_MIN(json_array_size(json), (size_t)HONE_MAX_RANK)};
    bool ok = json_is_array(json) && json_array_size(json) <= HONE_MAX_RANK;
    for (int d = 0; d < to->rank && ok; d++) {
        const json_t *size = json_array_get(json, (size_t)d);
        if (json_is_object(size)) {
            ok = bounded(json_object_get(size, "batch"), 1, most_size / HONE_BATCH, &to->dim[d]);
            to->dim[d] = ok ? to->dim[d] * HONE_BATCH : 0;
        } else {
            ok = bounded(size, -1, most_size, &to->dim[d]);
        }
    }
    return ok;
}

static bool axes_from_json(const json_t *json, hone_axes *to)
{
    int64_t axis;
    *to = (hone_axes){.count = (int)HONE_MIN(json_array_size(json), (size_t)HONE_MAX_RANK)};
    bool ok = json_is_array(json) && json_array_size(json) <= HONE_MAX_RANK;
    for (int i = 0; i < to->count && ok; i++) {
        ok = bounded(json_array_get(json, (size_t)i), -HONE_MAX_RANK, HONE_MAX_RANK, &axis);
        to->axis[i] = (int)axis;
    }
    return ok;
}

static bool real_from_json(const json_t *json, double *to)
{
    const char *text = json_string_value(json);
    if (text) return *to = text[0] == '-' ? -INFINITY : INFINITY, !strcmp(text, "inf") || !strcmp(text, "-inf");
    return *to = json_number_value(json), json_is_number(json);
}

static bool attr_from_json(const hone_op *op, const hone__attr *a, const json_t *json, void *attr)
{
    void *at = (char *)attr + a->offset;
    int64_t value;
    int count;
    const char *const *names = names_of(op, &count);
    switch (a->type) {
    case HONE__ATTR_BOOL: return *(bool *)at = json_is_true(json), json_is_boolean(json);
    case HONE__ATTR_INT:
        for (int i = 0; i < count && json_is_string(json); i++)
            if (!strcmp(names[i], json_string_value(json))) return *(int *)at = i, true;
        return !names && bounded(json, -MOST_INT, MOST_INT, &value) && (*(int *)at = (int)value, true);
    case HONE__ATTR_I64:
        if (json_is_null(json)) return *(int64_t *)at = HONE_END, true;
        return bounded(json, -most_size, most_size, at);
    case HONE__ATTR_F64: return real_from_json(json, at);
    case HONE__ATTR_DTYPE: return json_is_string(json) && hone_dtype_from_name(json_string_value(json), at);
    case HONE__ATTR_AXES: return axes_from_json(json, at);
    case HONE__ATTR_SHAPE: return shape_from_json(json, at);
    }
    return false;
}

typedef struct reading {
    hone__functional *f;
    hone_node **values;
    int n_values;
} reading;

static bool damaged(const reading *r, const char *what)
{
    hone__fail(r->f->base.ctx, HONE_FORMAT, "functional model: value %d: %s", r->n_values, what);
    return false;
}

static hone_node *apply_layer(const reading *r, const char *name, const json_t *train, int n, hone_node **in)
{
    hone_layer *layer = NULL;
    for (size_t i = 0; i < r->f->base.n_children && !layer; i++)
        if (!strcmp(r->f->base.children[i]->name, name)) layer = r->f->base.children[i];
    if (!layer || n < 1 || n > MOST_INPUTS || !in[0]) return damaged(r, "there is no such layer, or its inputs are none or too many"), NULL;
    int mode = json_is_true(train) ? HONE_TRAIN : json_is_false(train) ? HONE_EVALUATE : HONE__MODE_OF_GRAPH;
    hone_node *y = hone__apply(layer, n, in, mode);
    return y ? y : (damaged(r, "an input of its layer is missing"), NULL);
}

static hone_node *record_op(const reading *r, const char *name, const json_t *attrs, int n, hone_node **in)
{
    const hone_op *op = find_op(name);
    hone_graph *recipe = r->f->recipe;
    char *attr = op ? hone__arena_alloc(&recipe->arena, HONE_MAX(op->attr_size, (size_t)1)) : NULL;
    if (!attr) return damaged(r, "this version has no such op"), NULL; /* or memory ran out, which stays the reason */
    memset(attr, 0, op->attr_size);
    for (const hone__attr *a = op->attrs; a && a->name; a++)
        if (!attr_from_json(op, a, json_object_get(attrs, a->name), attr)) return damaged(r, "an attribute of its op is missing or wrong"), NULL;
    return hone__record(recipe, op, n, in, attr);
}

static bool take_step(reading *r, const json_t *step)
{
    const json_t *list = json_object_get(step, "in");
    size_t n = json_array_size(list);
    hone_node *in[MOST_IN];
    if (!json_is_array(list) || n > MOST_IN) return damaged(r, "its step has no list of inputs, or one that is too long");
    for (size_t i = 0; i < n; i++) {
        int64_t which;
        const json_t *json = json_array_get(list, i);
        if (!json_is_null(json) && !bounded(json, 0, r->n_values - 1, &which)) return damaged(r, "its step reads what is not there yet");
        in[i] = json_is_null(json) ? NULL : r->values[which];
    }
    const char *layer = json_string_value(json_object_get(step, "layer")), *op = json_string_value(json_object_get(step, "op"));
    hone_node *y = layer ? apply_layer(r, layer, json_object_get(step, "train"), (int)n, in) : record_op(r, op, json_object_get(step, "attr"), (int)n, in);
    if (!y) return false;
    int64_t count = 1;
    for (int d = 0; d < y->shape.rank; d++) {
        int64_t size = HONE_MAX(y->shape.dim[d], 1);
        if (size > most_values / count) return damaged(r, "it would be too large");
        count *= size;
    }
    r->values[r->n_values++] = y;
    return true;
}

static bool take_input(reading *r, const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "dtype"));
    hone_dtype dtype;
    hone_shape shape;
    if (!name || !hone_dtype_from_name(name, &dtype) || !shape_from_json(json_object_get(json, "shape"), &shape))
        return damaged(r, "the input's dtype or shape is wrong");
    hone_node *x = hone_input(r->f->recipe, "x", dtype, shape);
    if (x) r->values[r->n_values++] = x;
    return x != NULL;
}

bool hone__functional_from_json(hone_layer *layer, const json_t *json)
{
    reading r = {.f = (hone__functional *)(void *)layer};
    const json_t *inputs = json_object_get(json, "inputs"), *steps = json_object_get(json, "steps");
    size_t n_inputs = json_array_size(inputs), n_steps = json_array_size(steps);
    if (n_inputs < 1 || n_inputs > MOST_IN) return damaged(&r, "the model has no inputs, or too many");
    if (!(r.values = hone__calloc(layer->ctx, n_inputs + n_steps, sizeof *r.values))) return false;
    bool ok = true;
    for (size_t i = 0; i < n_inputs && ok; i++) ok = take_input(&r, json_array_get(inputs, i));
    for (size_t i = 0; i < n_steps && ok; i++) ok = take_step(&r, json_array_get(steps, i));
    const json_t *several = json_object_get(json, "outputs");
    hone_node *outputs[HONE__MOST_OUTPUTS];
    size_t n_outputs = several ? json_array_size(several) : 1;
    if (ok && (n_outputs < 1 || n_outputs > HONE__MOST_OUTPUTS)) ok = damaged(&r, "the model has no outputs, or too many");
    for (size_t i = 0; i < n_outputs && ok; i++) {
        int64_t value;
        const json_t *output = several ? json_array_get(several, i) : json_object_get(json, "output");
        if (bounded(output, 0, r.n_values - 1, &value))
            outputs[i] = r.values[value];
        else
            ok = damaged(&r, "the model's output is none of its values");
    }
    ok = ok && hone__functional_close(r.f, (int)n_inputs, r.values, (int)n_outputs, outputs);
    hone__free(layer->ctx, r.values);
    return ok;
}
