/* A fitted pipeline as JSON:
     {"format": "hone-pipeline", "version": 1, "target": "species", "target_type": "text", "classes": ["a", ...],
      "inputs": [{"name": "age", "type": "number"}, ...], "features": ["age", ...],
      "steps": [{"kind": "one_hot_encoder", "ignore_unknown": true, "columns": [{"name": "sex", "values": ["f", "m"]}]}, ...]}
   With the target's type "label" the classes are the values of the step "label_encoder". A column of a step has what hone__learnt holds: "a" and "b", "text", or "values". Numbers are written with 17 digits, so
   they come back to the bit. */
#include "data/pipeline.h"
#include "base/os.h"
#include "data/data.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILE = 256 << 20, VERSION = 1 };

static const char *const target_types[] = {[HONE__TARGET_NONE] = "none", [HONE__TARGET_TEXT] = "text", [HONE__TARGET_REAL] = "real",
                                           [HONE__TARGET_CLASS] = "class", [HONE__TARGET_LABEL] = "label"};

/* ---- writing ---- */

/* Both return false when the value is NULL, as json_string gives for what is not UTF-8. */
static bool add(json_t *list, json_t *value) { return json_array_append_new(list, value) == 0; }
static bool set(json_t *object, const char *key, json_t *value) { return json_object_set_new(object, key, value) == 0; }

/* The list or object if all went well, else NULL. */
static json_t *if_ok(bool ok, json_t *json)
{
    if (ok) return json;
    json_decref(json);
    return NULL;
}

static json_t *texts_json(char *const *texts, size_t n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++) ok = add(list, json_string(texts[i]));
    return if_ok(ok, list);
}

static json_t *numbers_json(const double *numbers, size_t n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++) ok = add(list, json_real(numbers[i]));
    return if_ok(ok, list);
}

static json_t *learnt_json(const hone__step *s, const hone__learnt *l)
{
    json_t *j = json_object();
    bool ok = set(j, "name", json_string(l->column));
    if (l->texts)
        ok = ok && set(j, "values", texts_json(l->texts, l->n));
    else if (l->numbers)
        ok = ok && set(j, "values", numbers_json(l->numbers, l->n));
    else if (l->text)
        ok = ok && set(j, "text", json_string(l->text));
    else if (s->kind != HONE_DROP_COLUMNS)
        ok = ok && set(j, "a", json_real(l->a)) && set(j, "b", json_real(l->b));
    return if_ok(ok, j);
}

static bool is_encoder(hone_pipeline_step kind)
{
    return kind == HONE_ONE_HOT_ENCODER || kind == HONE_ORDINAL_ENCODER || kind == HONE_LABEL_ENCODER;
}

static json_t *step_json(const hone__step *s)
{
    json_t *j = json_object(), *columns = json_array();
    bool ok = columns && set(j, "kind", json_string(hone__step_types[s->kind].name));
    if (is_encoder(s->kind)) ok = ok && set(j, "ignore_unknown", json_boolean(s->o.ignore_unknown));
    if (s->kind == HONE_ONE_HOT_ENCODER) ok = ok && set(j, "drop_first", json_boolean(s->o.drop_first));
    if (is_encoder(s->kind) && s->kind != HONE_ONE_HOT_ENCODER) ok = ok && set(j, "unknown_value", json_real(s->o.unknown_value));
    for (size_t i = 0; ok && i < s->n_learnt; i++) ok = add(columns, learnt_json(s, &s->learnt[i]));
    return if_ok(set(j, "columns", columns) && ok, j);
}

json_t *hone__pipeline_to_json(const hone_pipeline *p)
{
    json_t *j = json_object(), *inputs = json_array(), *steps = json_array();
    hone__target_type type = p->target_type;
    bool ok = set(j, "format", json_string("hone-pipeline")) && set(j, "version", json_integer(VERSION)) &&
              set(j, "target_type", json_string(target_types[type])) && (type == HONE__TARGET_NONE || set(j, "target", json_string(p->target))) &&
              set(j, "classes", texts_json(p->classes, type == HONE__TARGET_TEXT ? p->n_classes : 0)) &&
              set(j, "features", texts_json(p->features, p->n_features));
    for (size_t i = 0; ok && i < p->n_inputs; i++)
        ok = add(inputs, json_pack("{s:s, s:s}", "name", p->inputs[i].name, "type", p->inputs[i].text ? "text" : "number"));
    for (size_t i = 0; ok && i < p->n_steps; i++) ok = add(steps, step_json(&p->steps[i]));
    if (type == HONE__TARGET_LABEL) ok = ok && add(steps, step_json(&p->label));
    ok = set(j, "inputs", inputs) && ok;
    ok = set(j, "steps", steps) && ok;
    return if_ok(ok, j);
}

hone_status hone_pipeline_save(const hone_pipeline *p, const char *path)
{
    if (!p || !path) return HONE_INVALID;
    if (!hone__ok(p->ctx)) return p->ctx->status;
    if (!p->is_fitted) return hone__fail_run(p->ctx, HONE_STATE, "the pipeline is not fitted: there is nothing to save yet");
    json_t *j = hone__pipeline_to_json(p);
    char *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(j);
    hone_status status = text ? hone_write_file(p->ctx, path, text, strlen(text))
                              : hone__fail_run(p->ctx, HONE_INVALID, "%s: a name or a value is no text in UTF-8", path);
    free(text);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    hone_pipeline *p;
    const char *path;
} reader;

static bool refuse(const reader *r, const char *where, const char *what)
{
    hone__fail(r->p->ctx, HONE_FORMAT, "%s: %s: %s", r->path, where, what);
    return false;
}

static const char *copy(const reader *r, const json_t *value)
{
    return json_is_string(value) ? hone__arena_strdup(&r->p->fitted, json_string_value(value)) : NULL;
}

/* A list of texts at a key. */
static bool read_texts(const reader *r, const json_t *list, const char *where, char ***texts, size_t *n)
{
    if (!json_is_array(list)) return refuse(r, where, "must be a list of strings");
    size_t count = json_array_size(list);
    if (!(*texts = hone__arena_alloc(&r->p->fitted, count * sizeof **texts))) return false;
    for (*n = 0; *n < count; ++*n) {
        const char *text = copy(r, json_array_get(list, *n));
        if (!text) return hone__ok(r->p->ctx) && refuse(r, where, "must be a list of strings");
        (*texts)[*n] = (char *)(uintptr_t)text;
    }
    return true;
}

static bool is_finite(const json_t *value) { return json_is_number(value) && isfinite(json_number_value(value)); }

/* An encoder's values: ascending, as they are searched. */
static bool read_values(const reader *r, const json_t *list, const char *where, hone__learnt *l)
{
    size_t count = json_array_size(list);
    if (!count) return refuse(r, where, "\"values\" must be a list that is not empty");
    if (json_is_string(json_array_get(list, 0))) {
        if (!read_texts(r, list, where, &l->texts, &l->n)) return false;
        for (size_t i = 1; i < l->n; i++)
            if (strcmp(l->texts[i - 1], l->texts[i]) >= 0) return refuse(r, where, "\"values\" must ascend");
        return true;
    }
    if (!(l->numbers = hone__arena_alloc(&r->p->fitted, count * sizeof *l->numbers))) return false;
    for (; l->n < count; l->n++) {
        const json_t *value = json_array_get(list, l->n);
        if (!is_finite(value)) return refuse(r, where, "\"values\" must be all strings or all numbers");
        l->numbers[l->n] = json_number_value(value);
        if (l->n && l->numbers[l->n - 1] >= l->numbers[l->n]) return refuse(r, where, "\"values\" must ascend");
    }
    return true;
}

static bool read_learnt(const reader *r, const hone__step *s, const json_t *j, hone__learnt *l)
{
    char where[128];
    snprintf(where, sizeof where, "%s, column '%.60s'", hone__step_types[s->kind].name,
             json_is_string(json_object_get(j, "name")) ? json_string_value(json_object_get(j, "name")) : "?");
    if (!(l->column = copy(r, json_object_get(j, "name")))) return hone__ok(r->p->ctx) && refuse(r, where, "has no name");
    if (s->kind == HONE_DROP_COLUMNS) return true;
    if (is_encoder(s->kind))
        return read_values(r, json_object_get(j, "values"), where, l);
    const json_t *text = json_object_get(j, "text"), *a = json_object_get(j, "a"), *b = json_object_get(j, "b");
    if (text && s->kind == HONE_SIMPLE_IMPUTER) {
        l->text = copy(r, text);
        return l->text || (hone__ok(r->p->ctx) && refuse(r, where, "\"text\" must be a string"));
    }
    if (!is_finite(a) || !is_finite(b)) return refuse(r, where, "\"a\" and \"b\" must be finite numbers");
    l->a = json_number_value(a), l->b = json_number_value(b);
    bool scaler = s->kind != HONE_SIMPLE_IMPUTER && s->kind != HONE_CLIP_OUTLIERS;
    return !(scaler && l->b == 0) || refuse(r, where, "a scale must not be 0");
}

static bool read_step(const reader *r, const json_t *j)
{
    const char *name = json_string_value(json_object_get(j, "kind"));
    size_t kind = 0;
    while (name && kind <= HONE_DROP_COLUMNS && strcmp(hone__step_types[kind].name, name) != 0) kind++;
    if (!name || kind > HONE_DROP_COLUMNS) return refuse(r, "a step's kind", name ? name : "is missing");
    const json_t *columns = json_object_get(j, "columns"), *value = json_object_get(j, "unknown_value");
    double unknown = json_is_number(value) ? json_number_value(value) : -1;
    bool label = kind == HONE_LABEL_ENCODER;
    if (label && (r->p->target_type != HONE__TARGET_LABEL || r->p->label_is_asked))
        return refuse(r, name, "is for the target, once, with \"target_type\" label");
    hone_pipeline_add_opts o = {.struct_size = sizeof o,
                                .columns = label ? NULL : HONE_COLUMNS("?"), /* unused: it is not fitted again */
                                .ignore_unknown = json_is_true(json_object_get(j, "ignore_unknown")),
                                .drop_first = json_is_true(json_object_get(j, "drop_first")),
                                .unknown_value = unknown == 0 ? (double)HONE_ZERO : unknown};
    if (!json_is_array(columns) || (label && json_array_size(columns) != 1)) return refuse(r, name, "\"columns\" must be a list");
    if (!isfinite(unknown) || (label && !(fabs(unknown) <= INT32_MAX && unknown == floor(unknown))))
        return refuse(r, name, "\"unknown_value\" is out of range");
    hone__step *s = hone__pipeline_append(r->p, (hone_pipeline_step)kind, &o);
    if (!s) return false;
    size_t n = json_array_size(columns);
    if (!(s->learnt = hone__arena_alloc(&r->p->fitted, n * sizeof *s->learnt))) return false;
    for (; s->n_learnt < n; s->n_learnt++)
        if (!read_learnt(r, s, json_array_get(columns, s->n_learnt), &s->learnt[s->n_learnt])) return false;
    return true;
}

static bool read_inputs(const reader *r, const json_t *list)
{
    hone_pipeline *p = r->p;
    if (!json_is_array(list)) return refuse(r, "\"inputs\"", "must be a list");
    size_t n = json_array_size(list);
    if (!(p->inputs = hone__arena_alloc(&p->fitted, n * sizeof *p->inputs))) return false;
    for (; p->n_inputs < n; p->n_inputs++) {
        const json_t *j = json_array_get(list, p->n_inputs);
        const char *type = json_string_value(json_object_get(j, "type"));
        hone__input *in = &p->inputs[p->n_inputs];
        if (!type || (strcmp(type, "text") != 0 && strcmp(type, "number") != 0))
            return refuse(r, "\"inputs\"", "a type is \"text\" or \"number\"");
        in->text = !strcmp(type, "text");
        if (!(in->name = copy(r, json_object_get(j, "name")))) return hone__ok(p->ctx) && refuse(r, "\"inputs\"", "a name is missing");
    }
    return true;
}

static bool read_target(const reader *r, const json_t *root)
{
    hone_pipeline *p = r->p;
    const char *type = json_string_value(json_object_get(root, "target_type"));
    size_t i = 0;
    while (type && i < HONE_ARRAY_LEN(target_types) && strcmp(target_types[i], type) != 0) i++;
    if (!type || i == HONE_ARRAY_LEN(target_types)) return refuse(r, "\"target_type\"", "is not known");
    p->target_type = (hone__target_type)i;
    if (i && !(p->target = copy(r, json_object_get(root, "target"))))
        return hone__ok(p->ctx) && refuse(r, "\"target\"", "must be a string");
    if (!read_texts(r, json_object_get(root, "classes"), "\"classes\"", &p->classes, &p->n_classes)) return false;
    for (size_t k = 1; k < p->n_classes; k++)
        if (strcmp(p->classes[k - 1], p->classes[k]) >= 0) return refuse(r, "\"classes\"", "must ascend");
    if (p->target_type != HONE__TARGET_TEXT) return true;
    if (!(p->label.learnt = hone__arena_alloc(&p->fitted, sizeof *p->label.learnt))) return false;
    p->label.kind = HONE_LABEL_ENCODER;
    p->label.n_learnt = 1;
    *p->label.learnt = (hone__learnt){.column = p->target, .texts = p->classes, .n = p->n_classes};
    return true;
}

static bool read_root(const reader *r, const json_t *root)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *steps = json_object_get(root, "steps");
    if (!format || strcmp(format, "hone-pipeline") != 0) return refuse(r, "\"format\"", "this is no pipeline of Hone");
    if (json_integer_value(json_object_get(root, "version")) != VERSION) return refuse(r, "\"version\"", "only 1 is read");
    if (!json_is_array(steps)) return refuse(r, "\"steps\"", "must be a list");
    if (!read_target(r, root) || !read_inputs(r, json_object_get(root, "inputs")) ||
        !read_texts(r, json_object_get(root, "features"), "\"features\"", &r->p->features, &r->p->n_features))
        return false;
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (!read_step(r, json_array_get(steps, i))) return false;
    if (r->p->target_type == HONE__TARGET_LABEL && (!r->p->label_is_asked || hone__name_classes(r->p) != HONE_OK))
        return hone__ok(r->p->ctx) && refuse(r, "\"target_type\"", "is label, and there is no label_encoder");
    const hone_pipeline_add_opts *label = &r->p->label.o;
    if (r->p->label_is_asked && label->ignore_unknown && label->unknown_value >= 0 && label->unknown_value < (double)r->p->n_classes)
        return refuse(r, "\"unknown_value\"", "is the number of a class");
    return r->p->is_loaded = r->p->is_fitted = true;
}

hone_pipeline *hone__pipeline_from_json(hone_ctx *ctx, const char *path, const json_t *root)
{
    reader r = {.p = hone_pipeline_new(ctx), .path = path};
    if (!r.p || read_root(&r, root)) return r.p;
    hone_pipeline_free(r.p);
    return NULL;
}

hone_pipeline *hone__pipeline_read(hone_ctx *ctx, const char *path, const char *data, size_t size)
{
    if (!hone__ok(ctx)) return NULL;
    json_error_t error;
    json_t *root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    hone_pipeline *p = root ? hone__pipeline_from_json(ctx, path, root) : NULL;
    if (!root) hone__fail(ctx, HONE_FORMAT, "%s line %d: %s", path, error.line, error.text);
    json_decref(root);
    return p;
}

hone_pipeline *hone_pipeline_load(hone_ctx *ctx, const char *path)
{
    size_t size;
    char *text = hone__ok(ctx) ? hone__read_file(ctx, path, MAX_FILE, &size) : NULL;
    hone_pipeline *p = text ? hone__pipeline_read(ctx, path, text, size) : NULL;
    hone__free(ctx, text);
    return p;
}
