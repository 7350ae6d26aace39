# The plots of a run: see plot.sh, which prepares the data. Variables: data, out (directories).
# SPDX-License-Identifier: BSD-2-Clause
set terminal svg noenhanced size 760,420 font "sans-serif,12" background "white"
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
contestants = "flowq flowq-256 flowq-sse2 flowq-native rte_hash rte_hash-pf rte_hash-48 ck_ht lfht tun roofline roofline-burst"
colour(c) = c eq "flowq" ? "#d62728" : c eq "flowq-256" ? "#ff7f0e" : c eq "flowq-sse2" ? "#f4a3a3" : c eq "flowq-native" ? "#8b0000" : c eq "rte_hash" ? "#1f77b4" : c eq "rte_hash-pf" ? "#7fb2d9" : c eq "rte_hash-48" ? "#17becf" : c eq "ck_ht" ? "#2ca02c" : \
    c eq "lfht" ? "#9467bd" : c eq "tun" ? "#8c564b" : c eq "roofline" ? "#7f7f7f" : "#bcbcbc"
there(name, c) = int(system("test -e '".data."/".name."-".c."' && echo 1 || echo 0"))
have(name) = int(system("test $(wc -l <'".data."/".name."') -gt 1 && echo 1 || echo 0"))
columns(name) = int(system("head -n 1 '".data."/".name."' | wc -w"))
listed(name) = system("for c in ".contestants."; do test -e '".data."/".name."-'$c && printf '%s ' $c; done; true")

set logscale x 2
set xtics ("1k" 1024, "8k" 8192, "64k" 65536, "1M" 1048576, "8M" 8388608)
set xrange [700:12000000]
set xlabel "flows in the table"
set key outside right top Left reverse

set logscale y 2
set ytics (4, 8, 16, 32, 64, 128, 256, 512)
set ylabel "ns per packet"
do for [name in "str cold"] {
    list = listed(name)
    if (strlen(list) > 0) {
        set output out."/steer-".name.".svg"
        set title name eq "str" ? "Steering in bursts of 32, frames one after the other (IPv4, all flows bound)" : \
            "Steering in bursts of 32, every header a cache miss (IPv4, all flows bound)"
        plot for [c in list] data."/".name."-".c using 1:2:3:4 with yerrorbars lc rgb colour(c) pt 7 ps 0.6 notitle, \
            for [c in list] data."/".name."-".c using 1:2 with lines lw 2 lc rgb colour(c) title c
    }
}

unset logscale y
set ytics auto
set yrange [0:*]
set ylabel "bytes per flow"
list = listed("memory")
if (strlen(list) > 0) {
    set output out."/memory.svg"
    set title "Memory for the flow table, all flows bound"
    plot for [c in list] data."/memory-".c using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb colour(c) title c
}

unset logscale x
unset xrange
set xtics auto
set xlabel "percentile"
set autoscale x
set style data histogram
set style fill solid 0.8 border -1
set boxwidth 0.9
if (have("growth")) {
    set output out."/growth.svg"
    set title "One insert while the table grows from 1k to 1M flows, CPU time of the thread"
    set ylabel "microseconds"
    set logscale y
    set yrange [0.05:*]
    set ytics ("0.1" 0.1, "1" 1, "10" 10, "100" 100, "1 ms" 1000, "10 ms" 10000, "100 ms" 100000)
    plot for [i=2:columns("growth")] data."/growth" using i:xtic(1) lc rgb colour(word(system("head -n 1 '".data."/growth'"), i)) title columnheader(i)
}
if (have("threads")) {
    set output out."/threads.svg"
    set title "Several threads together, as a multiple of one alone"
    unset logscale y
    set ytics auto
    set yrange [0:*]
    set xlabel ""
    set ylabel "times"
    plot for [i=2:columns("threads")] data."/threads" using i:xtic(1) lc rgb colour(word(system("head -n 1 '".data."/threads'"), i)) title columnheader(i)
}
