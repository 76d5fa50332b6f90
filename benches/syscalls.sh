#!/bin/sh
# What each call costs beyond its time: system calls, by strace's count, threads, and memory.
#
# Writes one row for each line to standard output, tab-separated, and the same to
# target/criterion/cost.tsv, where `cargo bench --bench report` finds it. Needs strace.
set -eu
cd "$(dirname "$0")/.."
command -v strace >/dev/null || { echo "strace is needed" >&2; exit 1; }

cost=$(cargo bench --quiet --bench cost --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/cost-[^"]*\)".*/\1/p')
table=$(dirname "$cost")/../../criterion/cost.tsv
mkdir -p "$(dirname "$table")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Counts the calls between the two marks, of this process and its threads; children sleep then.
# `+N` says that N threads were started by the call.
between_marks() {
    awk '/getsid\(2147483647/ { inside = !inside; next }
        inside && /resumed>/ { next }
        inside && /\+\+\+|---/ { next }
        inside && /restart_syscall/ { next } # A child, signalled in its sleep.
        inside { calls++ }
        inside && /clone3?\(/ { threads++ }
        END { printf "%d%s", calls, threads ? " +" threads : "" }' "$log"
}

rows() {
    printf 'line\twait\ttry_wait\tsignal\ttimed, exited\ttimed, not\tthreads\n'
    for line in 'bare pidfd' 'bare waitpid' 'bare ChildExt' 'pidwait pidfd' 'pidwait waitpid' \
        'pidwait ChildExt' 'std Child' 'wait-timeout' 'shared_child' 'process_control' \
        'subprocess' 'async-process' 'tokio'
    do
        printf '%s' "$line"
        most=0
        for case in 'wait' 'try_wait' 'signal' 'timed, exited' 'timed, not'; do
            threads=$(strace -f -o "$log" "$cost" call "$line" "$case")
            if [ "$threads" = - ]; then
                printf '\t-'
            else
                printf '\t%s' "$(between_marks)"
                if [ "$threads" -gt "$most" ]; then most=$threads; fi
            fi
        done
        printf '\t%s\n' "$most"
    done
    printf '\nbytes each of\t10\t100\t1000\t10000\n'
    for line in 'bare epoll' 'pidwait WaitSet' 'bare wait4(-1)' 'a thread each' 'tokio' \
        'async-process'
    do
        printf '%s' "$line"
        for n in 10 100 1000 10000; do
            printf '\t%s' "$("$cost" crowd "$line" "$n")"
        done
        printf '\n'
    done
}

rows | tee "$table"
