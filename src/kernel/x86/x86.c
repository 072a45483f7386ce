#include "kernel/x86/x86.h"

void hone__x86_override(hone__kernels *table)
{
    bool bf16 = hone__bf16_is_fast(), amx = hone__isa_level() == HONE__ISA_AMX;
    if (hone__isa_level() < HONE__ISA_AVX512) return;
    table->swiglu = bf16 ? hone__swiglu_x86_avx512bf16 : hone__swiglu_x86_avx512;
    table->swiglu_grad = bf16 ? hone__swiglu_grad_x86_avx512bf16 : hone__swiglu_grad_x86_avx512;
    table->norm = bf16 ? hone__norm_x86_avx512bf16 : hone__norm_x86_avx512;
    table->norm_grad = bf16 ? hone__norm_grad_x86_avx512bf16 : hone__norm_grad_x86_avx512;
    table->lse_block = bf16 ? hone__lse_block_x86_avx512bf16 : hone__lse_block_x86_avx512;
    table->exp_block = bf16 ? hone__exp_block_x86_avx512bf16 : hone__exp_block_x86_avx512;
    table->cross_entropy_grad = bf16 ? hone__cross_entropy_grad_x86_avx512bf16 : hone__cross_entropy_grad_x86_avx512;
    table->unary = bf16 ? hone__unary_x86_avx512bf16 : hone__unary_x86_avx512;
    table->unary_grad = bf16 ? hone__unary_grad_x86_avx512bf16 : hone__unary_grad_x86_avx512;
    table->dropout = hone__dropout_x86_avx512;
    table->channel_norm_sums = bf16 ? hone__channel_norm_sums_x86_avx512bf16 : hone__channel_norm_sums_x86_avx512;
    table->channel_norm_apply = bf16 ? hone__channel_norm_apply_x86_avx512bf16 : hone__channel_norm_apply_x86_avx512;
    table->channel_norm_grad_sums = bf16 ? hone__channel_norm_grad_sums_x86_avx512bf16 : hone__channel_norm_grad_sums_x86_avx512;
    table->adam8 = hone__adam8_x86_avx512;
#define ATTENTION(isa)                                                          \
    table->attention_tasks = hone__attention_tasks_x86_##isa;                   \
    table->attention_scratch = hone__attention_scratch_x86_##isa;               \
    table->attention = hone__attention_x86_##isa;                               \
    table->attention_grad_scratch = hone__attention_grad_scratch_x86_##isa;     \
    table->attention_grad = hone__attention_grad_x86_##isa
    if (bf16) table->attention_decode = hone__attention_decode_x86_avx512bf16;
    if (amx) {
        ATTENTION(amx);
    } else if (bf16) {
        ATTENTION(avx512bf16);
    }
#undef ATTENTION
}
