/* results: what the processes measured, collected by the parent. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *array, size_t n, size_t element)
{
    /* Doubles at each power of two. */
    if (n & (n - 1))
        return array;
    void *larger = realloc(array, (n ? 2 * n : 1) * element);
    if (!larger)
        fail("no memory");
    return larger;
}

const struct series *results_find(const struct results *r, const char *workload, const char *contestant, const char *unit)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        if (strcmp(s->workload, workload) == 0 && strcmp(s->contestant, contestant) == 0 && strcmp(s->unit, unit) == 0)
            return s;
    }
    return NULL;
}

static struct series *find_or_make(struct results *r, const char *workload, const char *contestant, const char *unit)
{
    struct series *s = (struct series *)(uintptr_t)results_find(r, workload, contestant, unit);
    if (s)
        return s;
    r->series = grow(r->series, r->n, sizeof(*r->series));
    s = &r->series[r->n++];
    memset(s, 0, sizeof(*s));
    snprintf(s->workload, sizeof(s->workload), "%s", workload);
    snprintf(s->contestant, sizeof(s->contestant), "%s", contestant);
    snprintf(s->unit, sizeof(s->unit), "%s", unit);
    return s;
}

static void add_remark(struct results *r, const char *text)
{
    for (size_t i = 0; i < r->n_remarks; i++)
        if (strcmp(r->remarks[i], text) == 0)
            return;
    r->remarks = grow(r->remarks, r->n_remarks, sizeof(*r->remarks));
    r->remarks[r->n_remarks] = strdup(text);
    if (!r->remarks[r->n_remarks++])
        fail("no memory");
}

void results_line(struct results *r, unsigned number, const char *line)
{
    char copy[512], *rest = copy, *field[5];
    snprintf(copy, sizeof(copy), "%s", line);
    copy[strcspn(copy, "\n")] = '\0';
    if (strncmp(copy, "R\t", 2) == 0)
        add_remark(r, copy + 2);
    if (strncmp(copy, "S\t", 2) != 0)
        return;
    for (unsigned i = 0; i < 5; i++)
        if (!(field[i] = strsep(&rest, "\t")))
            return;
    struct series *s = find_or_make(r, field[1], field[2], field[3]);
    s->value = grow(s->value, s->n, sizeof(*s->value));
    s->process = grow(s->process, s->n, sizeof(*s->process));
    s->value[s->n] = atof(field[4]);
    s->process[s->n++] = (uint8_t)number;
}

void results_free(struct results *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->series[i].value);
        free(r->series[i].process);
    }
    for (size_t i = 0; i < r->n_remarks; i++)
        free(r->remarks[i]);
    free(r->series);
    free(r->remarks);
}

/* ---- Figures --------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *value, size_t n)
{
    if (n == 0)
        return NAN;
    qsort(value, n, sizeof(*value), by_value);
    return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

static double median_of(const double *value, size_t n)
{
    double *copy = malloc((n ? n : 1) * sizeof(*copy));
    if (!copy)
        fail("no memory");
    memcpy(copy, value, n * sizeof(*copy));
    double m = median(copy, n);
    free(copy);
    return m;
}

double series_median(const struct series *s) { return s ? median_of(s->value, s->n) : NAN; }

double series_min(const struct series *s)
{
    double m = s && s->n ? s->value[0] : NAN;
    for (size_t i = 1; s && i < s->n; i++)
        m = s->value[i] < m ? s->value[i] : m;
    return m;
}

double series_max(const struct series *s)
{
    double m = s && s->n ? s->value[0] : NAN;
    for (size_t i = 1; s && i < s->n; i++)
        m = s->value[i] > m ? s->value[i] : m;
    return m;
}

/* Index of the first sample of a process, and how many there are: they lie together. */
static size_t span(const struct series *s, int number, size_t *n)
{
    size_t from = 0;
    while (from < s->n && number >= 0 && s->process[from] != number)
        from++;
    for (*n = 0; from + *n < s->n && (number < 0 || s->process[from + *n] == number);)
        ++*n;
    return from;
}

double series_of(const struct series *s, int number)
{
    size_t n;
    if (!s)
        return NAN;
    size_t from = span(s, number, &n);
    return median_of(s->value + from, n);
}

double series_ratio(const struct series *over, const struct series *under, int number)
{
    size_t n, m;
    if (!over || !under)
        return NAN;
    size_t a = span(over, number, &n), b = span(under, number, &m);
    n = n < m ? n : m;
    double *ratio = malloc((n ? n : 1) * sizeof(*ratio));
    if (!ratio)
        fail("no memory");
    for (size_t i = 0; i < n; i++)
        ratio[i] = over->value[a + i] / under->value[b + i];
    double r = median(ratio, n);
    free(ratio);
    return r;
}
