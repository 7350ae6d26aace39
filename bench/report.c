/* report: prints what was measured. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <stdio.h>

void report_print(const struct results *r, enum format format, bool with_goals)
{
    (void)format;
    (void)with_goals;
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        printf("%-28s %-12s %9.2f %s  (%.2f - %.2f, %zu)\n", s->workload, s->contestant, series_median(s), s->unit, series_min(s),
               series_max(s), s->n);
    }
}
