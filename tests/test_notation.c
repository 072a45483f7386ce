/* Layers from text: what --arch takes. */
#include "layer_tools.h"

#include <jansson.h>

/* The root's child of that number, described as a file would have it. */
static void has(const char *text, size_t child, const char *want)
{
    hone_layer *all = hone_sequential_from_text(ctx, text);
    if (!all) fail_msg("%s", hone_error(ctx));
    assert_true(child < all->n_children);
    json_t *json = hone__layer_to_json(all->children[child]);
    char *have = json_dumps(json_object_get(json, "options"), JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    assert_string_equal(have, want);
    free(have);
    json_decref(json);
    hone_layer_free(all);
}

static void test_options_go_where_they_belong(void **state)
{
    (void)state;
    has("dense 64 relu", 0, "{\"activation\":\"relu\",\"units\":64}");
    has("8,\n 16", 1, "{\"activation\":\"relu\",\"units\":16}");
    has("flatten, dense no_bias gelu 3 he_normal bias_initializer=ones", 1,
        "{\"activation\":\"gelu\",\"bias_initializer\":\"ones\",\"initializer\":\"he_normal\",\"no_bias\":true,\"units\":3}");
    has("dropout 0.25", 0, "{\"rate\":0.25}");
    has("conv2d 32 3 same stride=2 dilation=1x2 relu no_bias=false", 0,
        "{\"activation\":\"relu\",\"dilation\":[1,2,0],\"filters\":32,\"kernel\":3,\"padding\":\"same\",\"stride\":[2,0,0]}");
    has("max_pool2d 3 stride=2 dilation=2 ceil_mode", 0, "{\"ceil_mode\":true,\"dilation\":[2,0,0],\"kernel\":3,\"stride\":[2,0,0]}");
    has("lstm 7 recurrent_initializer=orthogonal bias_initializer=unit_forget", 0,
        "{\"bias_initializer\":\"unit_forget\",\"recurrent_initializer\":\"orthogonal\",\"units\":7}");
    has("activation softplus 2", 0, "{\"a\":2.0,\"activation\":\"softplus\"}");
    has("activation hard_tanh 0 b=0.5", 0, "{\"a\":0.0,\"activation\":\"hard_tanh\",\"b\":0.5}");
    has("activation relu", 0, "{\"activation\":\"relu\"}");
    has("reshape 1x28x28", 0, "{\"shape\":[1,28,28]}");
    has("gru 7 2 bidirectional dropout=0.5", 0, "{\"bidirectional\":true,\"dropout\":0.5,\"layers\":2,\"units\":7}");
    has("conv1d 4 3, leaky_relu 0.2, glu 1", 1, "{\"slope\":0.2}");
    has("leaky_relu", 0, "{\"slope\":0.01}");
    has("dense 8 identity, glu", 1, "{}");
    has("batch_norm momentum=0.5", 0, "{\"epsilon\":1e-5,\"momentum\":0.5}");
    has("batch_norm", 0, "{\"epsilon\":1e-5,\"momentum\":0.1}"); /* not 0: that would never learn its statistics */
    has("batch_norm momentum=0", 0, "{\"epsilon\":1e-5,\"momentum\":0.0}");
    assert_shape(hone_sequential_from_text(ctx, "conv2d 4 3 same relu, max_pool2d 2, flatten, dense 5"), HONE_SHAPE(2, 3, 8, 8),
                 HONE_SHAPE(2, 5));
}

static void refuses(const char *text, const char *part)
{
    assert_null(hone_sequential_from_text(ctx, text));
    if (!strstr(hone_error(ctx), part)) fail_msg("'%s' does not contain '%s'", hone_error(ctx), part);
    hone_clear_error(ctx);
}

static void test_what_is_wrong_and_what_is_known_is_told(void **state)
{
    (void)state;
    refuses("dense 64, dens 3", "layer 2: there is no layer 'dens'; there are sequential, dense, conv1d");
    refuses("dense 64 rellu", "layer 1, dense: 'rellu' is none of its options; they are units, activation (none|relu|");
    refuses("dense 64 3", "layer 1, dense: '3' is none of its options");
    refuses("flatten 3", "layer 1, flatten: '3' is none of its options: it has none");
    refuses("dense units=6.5", "units is '6.5', and must be a whole number");
    refuses("dense 5 activation=rely", "activation is 'rely', and must be one of none|relu|");
    refuses("dense 5 no_bias=maybe", "no_bias is 'maybe', and must be true or false");
    refuses("conv2d 3 3 stride=2y", "stride is '2y', and must be one to three whole numbers as in 2x2");
    refuses("dropout x=1", "layer 1, dropout: 'x' is none of its options; they are rate");
    refuses("dropout rate=", "rate is '', and must be a number");
    refuses("dropout rate=nan", "rate is 'nan', and must be a number");
    refuses("dense 5 units=6", "units comes twice");
    refuses("dense 5 relu tanh", "'tanh' is none of its options");
    refuses("dense 5,,dense 6", "layer 2 is empty");
    refuses("dense 5,", "layer 2 is empty");
    refuses("", "layer 1 is empty");
    refuses(NULL, "layer 1 is empty");
    refuses("dense 0", "units must be at least 1");
    refuses("dense 99999999999999999999", "units is '99999999999999999999'");
    refuses("dense 99999999", "units");
    refuses("dense aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is too long for a word");
    refuses("reshape 1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1", "shape");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_options_go_where_they_belong),
        TEST(test_what_is_wrong_and_what_is_known_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
