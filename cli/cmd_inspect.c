/* cli/cmd_inspect.c - endec inspect: probes that ask one question of a model. A probe is one row of the table. */
#include <math.h>

#include "cli.h"
#include "endec/inspect.h"

typedef struct inspect_opts {
    int64_t token, rows;
    bool json;
} inspect_opts;
static const ed_option table[] = {
    {"token", ED_OPT_INT, offsetof(inspect_opts, token), 0, 1e9, NULL, "ID", "token that is repeated", 0},
    {"rows", ED_OPT_INT, offsetof(inspect_opts, rows), 2, 1 << 20, NULL, "N", "how often it stands in the sequence", 0},
    {"json", ED_OPT_BOOL, offsetof(inspect_opts, json), 0, 0, NULL, NULL, "one JSON object", 0},
};

/** Rounding of f32 keeps rows of a model without positions this close; a model that knows where it is stands far above. */
#define BLIND_GAP 1e-5

/** position-power: do equal tokens come out different? Lengths double up to --rows. */
static ed_status position_power(const ed_model *m, const inspect_opts *o, cli_out *out, ed_error *err) {
    const char *position = ed_model_get_config(m)->position;
    double gap = 0;
    if (!o->json)
        cli_printf(out, "positions      %s\n", position ? position : "default");
    for (int64_t n = o->rows < 4 ? o->rows : 4;; n = 2 * n < o->rows ? 2 * n : o->rows) {
        CLI_TRY(ed_inspect_identical_token(m, (int32_t)o->token, n, &gap, err));
        if (!o->json)
            cli_printf(out, "token %lld x %-6lld largest gap between rows %.3g\n", (long long)o->token, (long long)n, gap);
        if (n == o->rows)
            break;
    }
    if (o->json) {
        cli_printf(out, "{\"probe\":\"position-power\",\"position\":");
        cli_put_json(out, position ? position : "", position ? strlen(position) : 0);
        cli_printf(out, ",\"token\":%lld,\"rows\":%lld,\"gap\":", (long long)o->token, (long long)o->rows);
        cli_put_json_number(out, gap);
        cli_printf(out, ",\"knows_position\":%s}\n", gap > BLIND_GAP ? "true" : "false");
    } else {
        cli_printf(out, gap > BLIND_GAP ? "The model tells equal tokens apart by their place.\n"
                                        : "The model gives equal tokens equal rows: it does not know where they stand.\n");
    }
    return ED_OK;
}

typedef struct probe {
    const char *name;
    ed_status (*run)(const ed_model *m, const inspect_opts *o, cli_out *out, ed_error *err);
} probe;
static const probe probes[] = {{"position-power", position_power}};

static ed_status work(cli *c, const inspect_opts *o, const cli_args *a, ed_error *err) {
    const probe *p = NULL;
    ed_model *m;
    cli_out out;
    for (size_t i = 0; i < CLI_COUNT(probes); i++)
        if (strcmp(probes[i].name, a->items[0]) == 0)
            p = &probes[i];
    if (!p)
        return ed_error_set(err, ED_E_INVALID, a->items[0], ED_NO_OFFSET, "no such probe (position-power)");
    CLI_TRY(ed_model_load(a->items[1], ED_DTYPE_COUNT, &m, err));
    ed_status s = cli_out_open(c, NULL, NULL, &out, err);
    if (s == ED_OK)
        s = cli_out_close(&out, p->run(m, o, &out, err), err);
    ed_model_destroy(&m);
    return s;
}

ed_status cmd_inspect(cli *c, int argc, char **argv, ed_error *err) {
    inspect_opts o = {.token = 3, .rows = 64};
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {0}};
    cli_spec spec = {.usage = "PROBE MODEL [options]",
                     .about = "Asks one question of a model. position-power: one token is repeated; a model whose positions act only inside the softmax gives equal "
                              "rows, whatever its weights, and so cannot know where it is (Luo et al. 2022).",
                     .groups = groups,
                     .examples = "endec inspect position-power runs/en-de\n",
                     .min_args = 2,
                     .max_args = 2};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = work(c, &o, &a, err);
    cli_spec_deinit(&spec);
    return s;
}
