/* The example pronounce on real words. It takes half a minute with AMX, and minutes with instruction sets that test_examples.c's
   regular words are learnt with anyway: so it is a program of its own, which CI runs once. */
#include "examples_tools.h"

#define WORDS "'" HONE_BINARY_DIR "/short_words.txt'"

/* A short form: every second of the dictionary's words of up to five letters, and a narrow network. */
static void test_pronounce_real_words(void **state)
{
    (void)state;
    char text[4000], line[1500];
    snprintf(line, sizeof line, "awk 'length($1) <= 5 && n++ %% 2' '%s' >" WORDS " && '" HONE_BINARY_DIR "/example_pronounce' " WORDS " 10 64",
             fetched("cmudict.dict"));
    assert_int_equal(run(line, text, sizeof text), 0);
    assert_figure(text, "epoch 10/10  loss ", 0, 1.3); /* labels are smoothed: knowing nothing is 3.7 */
    assert_figure(text, "589 words held out: word error rate ", 0, 0.65);
    assert_figure(text, "phoneme error rate ", 0, 0.26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pronounce_real_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
