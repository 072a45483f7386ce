#include "graph/profile.h"

#include <math.h>
#include <stdio.h>

bool hone__plan_uses(hone__plan *plan, hone__variable *variable, hone__derived *derived)
{
    for (size_t i = 0; i < plan->n_uses; i++)
        if (plan->uses[i].derived == derived) return true;
    if (!hone__grow(plan->ctx, (void **)&plan->uses, &plan->uses_capacity, plan->n_uses + 1, sizeof *plan->uses))
        return false;
    plan->uses[plan->n_uses++] = (hone__plan_use){variable, derived};
    return true;
}

size_t hone__plan_bytes(const hone__plan *plan) { return plan->arena_bytes; }
size_t hone__plan_length(const hone__plan *plan) { return plan->n_execs; }
hone__view *hone__plan_input(hone__plan *plan, int i) { return &plan->inputs[i].view; }
const hone__view *hone__plan_output(const hone__plan *plan, int i) { return &plan->outputs[i].view; }

static hone_status begin(hone__plan *plan, const hone__run_info *info)
{
    plan->info = *info;
    for (size_t i = 0; i < plan->n_uses; i++) {
        hone__variable *variable = plan->uses[i].variable;
        hone__derived *derived = plan->uses[i].derived;
        if (variable->by_hand && !hone__is_blocks(variable->stored)) derived->version = 0; /* blocks are only read */
        double began = derived->version != variable->version ? hone__profile_clock(plan->ctx) : 0;
        hone_status status = hone__refresh_derived(derived, variable);
        if (status != HONE_OK) return status;
        if (began > 0) hone__profile_mark_use(plan, i, began);
    }
    return HONE_OK;
}

static void where(hone_ctx *ctx, const hone__exec *exec)
{
    if (!exec->call) return;
    if (exec->call->scope[0])
        hone__error_prefix(ctx, "%s '%s'", exec->call->op->name, exec->call->scope);
    else
        hone__error_prefix(ctx, "%s", exec->call->op->name);
}

hone_status hone__plan_run(hone__plan *plan, const hone__run_info *info)
{
    hone_status status = plan->ctx->profile ? hone__profile_enter(plan) : HONE_OK;
    bool profiled = plan->ctx->profile != NULL;
    hone__use_threads(plan->ctx);
    if (status == HONE_OK) status = begin(plan, info);
    if (status != HONE_OK) return status;
    for (size_t i = 0; i < plan->n_execs; i++) {
        hone__exec *exec = &plan->execs[i];
        if (exec->first_write) exec->accumulate = info->micro_batch > 0;
        double began = profiled ? hone__seconds() : 0;
        status = exec->run(exec);
        if (status != HONE_OK) {
            where(plan->ctx, exec);
            return status;
        }
        if (profiled) hone__profile_mark_exec(plan, i, began);
        if (plan->ctx->visit) plan->ctx->visit(plan->ctx->visit_user, exec);
    }
    return HONE_OK;
}

bool hone__view_squares(const hone__view *view, double *squares)
{
    *squares = 0;
    if (!view->data || !hone__is_float(view->dtype)) return true;
    int64_t n = hone_shape_count(view->shape);
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        double v = view->dtype == HONE_F64    ? ((const double *)view->data)[i]
                   : view->dtype == HONE_BF16 ? (double)hone__bf16_to_f32(((const uint16_t *)view->data)[i])
                   : view->dtype == HONE_F32  ? (double)((const float *)view->data)[i]
                                              : 0;
        finite &= isfinite(v) != 0;
        *squares += v * v;
    }
    return finite;
}

bool hone__plan_find_nonfinite(hone__plan *plan, const hone__run_info *info, char *text, size_t size)
{
    if (begin(plan, info) != HONE_OK) return false;
    for (size_t i = 0; i < plan->n_execs; i++) {
        hone__exec *exec = &plan->execs[i];
        if (exec->target) continue; /* looking must not change state */
        if (exec->first_write) exec->accumulate = info->micro_batch > 0;
        if (exec->run(exec) != HONE_OK) return false;
        for (int o = 0; o < exec->n_out && exec->call; o++) {
            double squares;
            if (hone__view_squares(&exec->out[o], &squares)) continue;
            snprintf(text, size, "%s%s%s, output of '%s', has a value that is not finite",
                     exec->call->scope[0] ? "layer '" : "the graph", exec->call->scope,
                     exec->call->scope[0] ? "'" : "", exec->call->op->name);
            return true;
        }
    }
    return false;
}
