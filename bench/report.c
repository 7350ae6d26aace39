/* report: what was measured, as text, TSV and JSON. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Text ------------------------------------------------------------------------------------------------------------------ */

static void text_environment(void *ctx, const char *key, const char *value) { fprintf(ctx, "%-24s%s\n", key, value); }

static void text(FILE *to, const struct results *r)
{
    fprintf(to, "flowq-bench: %u processes, each with all contestants, which take turns; medians (smallest - largest of n)\n\n",
            r->processes);
    environment_each(text_environment, to);
    for (unsigned i = 0; contestants[i]; i++)
        fprintf(to, "%-24s%s\n", contestants[i]->name, contestants[i]->what);
    for (unsigned i = 0; missing_contestants[i]; i++)
        fprintf(to, "left out: %s\n", missing_contestants[i]);
    for (size_t i = 0; i < r->n_remarks; i++)
        fprintf(to, "note: %s\n", r->remarks[i]);
    fprintf(to, "The machine is shared: compare within a workload, not between runs.\n\n");
    const char *last = "";
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        double ours = series_median(results_find(r, s->workload, "flowq", s->unit)), m = series_median(s);
        fprintf(to, "%-24s %-14s %9.4g %-7s (%.4g - %.4g, %zu)", strcmp(last, s->workload) ? s->workload : "", s->contestant, m,
                s->unit, series_min(s), series_max(s), s->n);
        if (strcmp(s->contestant, "flowq") != 0 && !isnan(ours))
            fprintf(to, "  %.2f x flowq", m / ours);
        fprintf(to, "\n");
        last = s->workload;
    }
}

/* ---- TSV ------------------------------------------------------------------------------------------------------------------- */

static void tsv_environment(void *ctx, const char *key, const char *value) { fprintf(ctx, "# %s\t%s\n", key, value); }

static void tsv(FILE *to, const struct results *r)
{
    environment_each(tsv_environment, to);
    for (unsigned i = 0; missing_contestants[i]; i++)
        fprintf(to, "# left out\t%s\n", missing_contestants[i]);
    fprintf(to, "workload\tcontestant\tunit\tmedian\tmin\tmax\tn\n");
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        fprintf(to, "%s\t%s\t%s\t%.4f\t%.4f\t%.4f\t%zu\n", s->workload, s->contestant, s->unit, series_median(s), series_min(s),
                series_max(s), s->n);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------ */

struct json {
    FILE *to;
    bool more; /* something stands before this on the same level */
};

static void json_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', to);
        if ((unsigned char)*text >= ' ')
            fputc(*text, to);
    }
    fputc('"', to);
}

static void json_next(struct json *j, const char *indent)
{
    fprintf(j->to, "%s\n%s", j->more ? "," : "", indent);
    j->more = true;
}

static void json_environment(void *ctx, const char *key, const char *value)
{
    struct json *j = ctx;
    json_next(j, "    ");
    json_text(j->to, key);
    fprintf(j->to, ": ");
    json_text(j->to, value);
}

static void json_goal(void *ctx, const struct goal_result *g)
{
    struct json *j = ctx;
    json_next(j, "    ");
    fprintf(j->to, "{\"figure\": ");
    json_text(j->to, g->figure);
    fprintf(j->to, ", \"value\": ");
    fprintf(j->to, isnan(g->value) ? "null" : "%.4f", g->value);
    fprintf(j->to, ", \"must\": %g, \"aim\": %g, \"verdict\": ", g->must, g->aim);
    json_text(j->to, g->verdict);
    fprintf(j->to, "}");
}

static void json(FILE *to, const struct results *r)
{
    struct json j = {.to = to};
    fprintf(to, "{\n  \"environment\": {");
    environment_each(json_environment, &j);
    fprintf(to, "\n  },\n  \"processes\": %u,\n  \"left_out\": [", r->processes);
    j.more = false;
    for (unsigned i = 0; missing_contestants[i]; i++) {
        json_next(&j, "    ");
        json_text(to, missing_contestants[i]);
    }
    fprintf(to, "],\n  \"results\": [");
    j.more = false;
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        json_next(&j, "    ");
        fprintf(to,
                "{\"workload\": \"%s\", \"contestant\": \"%s\", \"unit\": \"%s\", \"median\": %.4f, \"min\": %.4f, \"max\": "
                "%.4f, \"n\": %zu}",
                s->workload, s->contestant, s->unit, series_median(s), series_min(s), series_max(s), s->n);
    }
    fprintf(to, "\n  ],\n  \"goals\": [");
    j.more = false;
    goals_each(r, json_goal, &j);
    fprintf(to, "\n  ]\n}\n");
}

/* ---------------------------------------------------------------------------------------------------------------------------- */

void report_print(FILE *to, const struct results *r, enum format format)
{
    if (format == FORMAT_TSV)
        tsv(to, r);
    else if (format == FORMAT_JSON)
        json(to, r);
    else
        text(to, r);
}
