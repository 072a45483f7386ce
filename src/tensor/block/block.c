#include "tensor/block.h"

const hone__block_format *hone__block_format_of(hone_dtype dtype)
{
    static const hone__block_format *const formats[] = {
        &hone__block_q4_0, &hone__block_q4_1, &hone__block_q5_0, &hone__block_q5_1, &hone__block_q8_0,
        &hone__block_q2_k, &hone__block_q3_k, &hone__block_q4_k, &hone__block_q5_k, &hone__block_q6_k,
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(formats); i++)
        if (formats[i]->dtype == dtype) return formats[i];
    return NULL;
}
