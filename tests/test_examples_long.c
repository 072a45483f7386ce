/* Short forms on real data that take 10 to 30 seconds with AMX, and minutes with instruction sets that test_examples.c's data teach
   anyway: a program of its own, which CI runs once. */
#include "examples_tools.h"

#define WORDS "'" HONE_BINARY_DIR "/short_words.txt'"

/* Every second of the dictionary's words of up to five letters, and a narrow network. */
static void test_pronounce_on_real_data(void **state)
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

/* of two digits, as ten take longer: all ground would be 0.32, and ink without knowing which digit 0.5 */
static const short_form segments = {"mnist_5k.csv", "awk -F, '$NF < 2' \"$set\" >\"$at/two_digits.csv\" && "
                                    "$at/example_scenes segment \"$at/two_digits.csv\" 8 480", "\nLoss: ", 0.2, "Mean IoU: ", 0.65},
                        boxes = {"mnist_5k.csv", "$at/example_scenes detect $set 6 1200", "\nLoss: ", 1.5, "Average precision: ", 0.85};

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pronounce_on_real_data), REAL(segments), REAL(boxes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
