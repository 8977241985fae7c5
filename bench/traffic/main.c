/*
 * main.c - the traffic tool: a test frame generator and sink for packet sockets, standing on its own.
 *
 * Job: open everything, start sinks, run the senders stage by stage, wait for what is under way, write one JSON object.
 * Threads: this one plus one per sender and sink; they share nothing but the stop flags. SIGINT and SIGTERM stop the senders:
 *      the report is then about what was sent.
 * Events (--events FD, a socket): "start\n" goes out when the last stage is about to begin and "end\n" when its senders have
 *      ended; after each the tool waits for one byte. Whoever reads counters in between measures exactly the traffic.
 * Limits reported: "generator" when less than 99 % of the rate asked for was offered, "sink" when a ring overflowed.
 */
#include "clock.h"
#include "options.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <poll.h>
#include <unistd.h>

enum { BT_DRAIN_LOOK_MS = 5, BT_DRAIN_MAX_MS = 5000, BT_SINK_NICE = -15 };

struct bt_worker {
    struct bt_run *run;
    struct bt_sender *sender; /* one of the two */
    struct bt_sink *sink;
    pthread_t thread;
    bool running;
};

struct bt_run {
    struct bt_options options;
    struct bt_worker workers[2 * BT_WORKERS_MAX];
    uint32_t n_workers;
    atomic_bool senders_stop;
    atomic_bool sinks_stop;
    int done_fd;   /* eventfd: a sender has ended */
    int signal_fd;
    bool interrupted;
};

/* -- threads */

static void bt_pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set); /* best effort: a CPU that is not there leaves the thread where it is */
}

static void *bt_worker_main(void *argument)
{
    struct bt_worker *worker = argument;
    const uint64_t one = 1;

    if (worker->sender) {
        bt_pin(bt_sender_spec(worker->sender)->cpu);
        bt_sender_run(worker->sender, &worker->run->senders_stop);
        if (write(worker->run->done_fd, &one, sizeof(one)) < 0)
            abort(); /* an eventfd far from its maximum takes a write */
    } else {
        bt_pin(bt_sink_spec(worker->sink)->cpu);
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), BT_SINK_NICE); /* best effort: before a spinning sender */
        bt_sink_run(worker->sink, &worker->run->sinks_stop);
    }
    return NULL;
}

static void bt_worker_start(struct bt_worker *worker)
{
    worker->running = pthread_create(&worker->thread, NULL, bt_worker_main, worker) == 0;
    if (!worker->running) {
        fputs("traffic: cannot start a thread\n", stderr);
        exit(1);
    }
}

static void bt_worker_join(struct bt_worker *worker)
{
    if (worker->running)
        pthread_join(worker->thread, NULL);
    worker->running = false;
}

static int bt_run_open(struct bt_run *run, struct bt_problem *problem)
{
    const struct bt_options *options = &run->options;

    for (uint32_t i = 0; i < options->n_sinks; i++) {
        struct bt_sink *sink = bt_sink_open(&options->sinks[i], problem);
        if (!sink)
            return -1;
        run->workers[run->n_workers++] = (struct bt_worker){.run = run, .sink = sink};
    }
    for (uint32_t i = 0; i < options->n_senders; i++) {
        struct bt_sender *sender = bt_sender_open(&options->senders[i], problem);
        if (!sender)
            return -1;
        run->workers[run->n_workers++] = (struct bt_worker){.run = run, .sender = sender};
    }
    return 0;
}

static void bt_run_close(struct bt_run *run)
{
    for (uint32_t i = 0; i < run->n_workers; i++) {
        if (run->workers[i].sink)
            bt_sink_close(run->workers[i].sink);
        else
            bt_sender_close(run->workers[i].sender);
    }
}

/* -- the course of a run */

static void bt_tell(const struct bt_run *run, const char *event)
{
    char answer;

    if (run->options.events_fd < 0 || write(run->options.events_fd, event, strlen(event)) < 0)
        return;
    while (read(run->options.events_fd, &answer, 1) < 0 && errno == EINTR)
        ;
}

/* Wait until something is to be done: returns true once `n` more senders have ended. */
static bool bt_run_wait(struct bt_run *run, uint64_t *n_left, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = run->done_fd, .events = POLLIN}, {.fd = run->signal_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    uint64_t n = 0;

    poll(fds, 2, timeout_ms);
    if (fds[1].revents && read(run->signal_fd, &info, sizeof(info)) > 0) {
        run->interrupted = true;
        atomic_store(&run->senders_stop, true);
    }
    if (fds[0].revents && read(run->done_fd, &n, sizeof(n)) > 0)
        *n_left -= n;
    return !*n_left;
}

static void bt_run_stage(struct bt_run *run, uint32_t stage)
{
    uint64_t n_left = 0;

    for (uint32_t i = 0; i < run->n_workers; i++) {
        struct bt_worker *worker = &run->workers[i];
        if (!worker->sender || bt_sender_spec(worker->sender)->stage != stage)
            continue;
        bt_worker_start(worker);
        n_left++;
    }
    while (n_left)
        bt_run_wait(run, &n_left, -1);
    for (uint32_t i = 0; i < run->n_workers; i++)
        if (run->workers[i].sender)
            bt_worker_join(&run->workers[i]);
}

static uint64_t bt_run_progress(const struct bt_run *run)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < run->n_workers; i++)
        n += run->workers[i].sink ? bt_sink_progress(run->workers[i].sink) : 0;
    return n;
}

/* What has to arrive, all sinks together: a frame that two sinks expect (a broadcast) counts twice. */
static uint64_t bt_run_due(const struct bt_run *run)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < run->n_workers; i++)
        for (uint32_t j = 0; j < run->n_workers; j++)
            if (run->workers[i].sink && run->workers[j].sender &&
                bt_sink_expects(bt_sink_spec(run->workers[i].sink), bt_sender_spec(run->workers[j].sender)->stream))
                n += bt_sender_result(run->workers[j].sender)->n_sent;
    return n;
}

/* Until everything has arrived (after the last stage), or nothing came for a while. Without senders: until a signal comes. */
static void bt_run_drain(struct bt_run *run, bool is_last)
{
    const bool forever = !run->options.n_senders;
    uint64_t before = bt_run_progress(run), nobody = 1;
    uint32_t quiet_ms = 0;

    for (uint32_t waited_ms = 0; !run->interrupted || !forever; waited_ms += BT_DRAIN_LOOK_MS) {
        bt_run_wait(run, &nobody, BT_DRAIN_LOOK_MS);
        const uint64_t now = bt_run_progress(run);
        quiet_ms = now == before ? quiet_ms + BT_DRAIN_LOOK_MS : 0;
        before = now;
        if (!forever && ((is_last && now >= bt_run_due(run)) || quiet_ms >= run->options.drain_ms || waited_ms >= BT_DRAIN_MAX_MS))
            return;
    }
}

static void bt_run_all(struct bt_run *run)
{
    uint32_t last = 0;

    for (uint32_t i = 0; i < run->options.n_senders; i++)
        last = run->options.senders[i].stage > last ? run->options.senders[i].stage : last;
    for (uint32_t i = 0; i < run->n_workers; i++)
        if (run->workers[i].sink)
            bt_worker_start(&run->workers[i]);
    for (uint32_t stage = 0; stage <= last && !run->interrupted; stage++) {
        if (stage == last)
            bt_tell(run, "start\n");
        bt_run_stage(run, stage);
        if (stage < last)
            bt_run_drain(run, false);
    }
    bt_tell(run, "end\n");
    bt_run_drain(run, true);
    atomic_store(&run->sinks_stop, true);
    for (uint32_t i = 0; i < run->n_workers; i++)
        bt_worker_join(&run->workers[i]);
}

/* -- the report */

static const struct bt_stream *bt_run_stream(const struct bt_run *run, uint16_t id)
{
    const struct bt_stream *best = NULL;

    for (uint32_t i = 0; i < run->n_workers; i++) {
        const struct bt_stream *stream = run->workers[i].sink ? bt_sink_stream(run->workers[i].sink, id) : NULL;
        if (stream && stream->expected && (!best || stream->n_unique > best->n_unique))
            best = stream;
    }
    return best;
}

/* A whole phase counts as short when more than 1 % of the asked rate was not offered, unless the count ended it. */
static bool bt_sender_short(const struct bt_sender *sender)
{
    const struct bt_sender_spec *spec = bt_sender_spec(sender);
    const struct bt_sender_result *result = bt_sender_result(sender);

    for (uint32_t i = 0; i < spec->n_phases; i++) {
        const struct bt_phase_result *phase = &result->phases[i];
        const double asked = spec->phases[i].rate * phase->seconds;
        if (result->n_offered < spec->count_max && (double)phase->n_offered + spec->burst < 0.99 * asked)
            return true;
    }
    return false;
}

static void bt_report_phases(FILE *out, const struct bt_sender *sender, const struct bt_stream *stream)
{
    const struct bt_sender_spec *spec = bt_sender_spec(sender);

    fputs("\"phases\": [", out);
    for (uint32_t i = 0; i < spec->n_phases; i++) {
        const struct bt_phase_result *phase = &bt_sender_result(sender)->phases[i];
        uint32_t last = phase->first_sequence;
        const uint64_t n_lost = bt_stream_lost(stream, phase->first_sequence, phase->n_sequences, &last);
        fprintf(out, "%s{\"rate\": %.10g, \"seconds\": %.6f, \"offered\": %lu, \"lost\": %lu, \"last_lost_after\": ", i ? ", " : "",
                spec->phases[i].rate, phase->seconds, phase->n_offered, n_lost);
        if (n_lost)
            fprintf(out, "%.6f}", (double)(last - phase->first_sequence) / phase->n_sequences * phase->seconds);
        else
            fputs("null}", out);
    }
    fputs("]", out);
}

static void bt_report_sender(FILE *out, const struct bt_run *run, const struct bt_sender *sender)
{
    const struct bt_sender_spec *spec = bt_sender_spec(sender);
    const struct bt_sender_result *result = bt_sender_result(sender);
    const struct bt_stream *stream = bt_run_stream(run, spec->stream);
    const double seconds = (double)(result->end_ns - result->start_ns) * 1e-9;
    uint32_t last = 0;

    fprintf(out,
            "{\"device\": \"%s\", \"engine\": \"%s\", \"stream\": %u, \"stage\": %u, \"seconds\": %.6f, \"offered\": %lu, \"sent\": %lu, \"refused\": %lu, "
            "\"bytes\": %lu, \"offered_pps\": %.1f, \"cpu_seconds\": %.6f, \"forgiven\": %lu, \"late_max_us\": %.1f, \"skipped\": %lu, \"repeated\": %lu, "
            "\"swapped\": %lu, \"sequences\": %u, \"lost\": %lu, \"short\": %s, ",
            spec->device, bt_sender_engine(sender), spec->stream, spec->stage, seconds, result->n_offered, result->n_sent, result->n_refused, result->n_bytes,
            seconds > 0 ? (double)result->n_offered / seconds : 0, (double)result->cpu_ns * 1e-9, result->n_forgiven, (double)result->late_max_ns * 1e-3,
            result->n_skipped, result->n_repeated, result->n_swapped, result->n_sequences,
            bt_stream_lost(stream, 0, result->n_sequences, &last), bt_sender_short(sender) ? "true" : "false");
    if (result->error)
        fprintf(out, "\"error\": \"%s\", ", strerror(result->error));
    bt_report_phases(out, sender, stream);
    fputs("}", out);
}

static void bt_report_latency(FILE *out, const struct bt_histogram *latency)
{
    static const struct {
        const char *name;
        uint64_t per_million;
    } ranks[] = {{"p10", 100000}, {"p50", 500000}, {"p90", 900000}, {"p99", 990000}, {"p99_9", 999000}, {"p99_99", 999900}};

    fprintf(out, "\"latency_us\": {\"n\": %lu, \"min\": %.3f, \"mean\": %.3f, ", latency->n_samples, (double)latency->min_ns * 1e-3,
            latency->n_samples ? (double)latency->sum_ns / (double)latency->n_samples * 1e-3 : 0);
    for (uint32_t i = 0; i < sizeof(ranks) / sizeof(*ranks); i++)
        fprintf(out, "\"%s\": %.3f, ", ranks[i].name, (double)bt_histogram_percentile(latency, ranks[i].per_million) * 1e-3);
    fprintf(out, "\"max\": %.3f}", (double)latency->max_ns * 1e-3);
}

static void bt_report_stream(FILE *out, const struct bt_stream *stream)
{
    const double seconds = (double)(stream->last_ns - stream->first_ns) * 1e-9;

    fprintf(out,
            "{\"stream\": %u, \"expected\": %s, \"frames\": %lu, \"unique\": %lu, \"bytes\": %lu, \"duplicates\": %lu, "
            "\"reordered\": %lu, \"reordered_stream\": %lu, \"wrong_tag\": %lu, \"beyond\": %lu, \"seconds\": %.6f, \"pps\": %.1f, ",
            stream->id, stream->expected ? "true" : "false", stream->n_frames, stream->n_unique, stream->n_bytes, stream->n_duplicates,
            stream->n_reordered, stream->n_reordered_stream, stream->n_wrong_tag, stream->n_beyond, seconds,
            seconds > 0 ? (double)(stream->n_frames - 1) / seconds : 0);
    bt_report_latency(out, &stream->latency);
    fputs("}", out);
}

static void bt_report_sink(FILE *out, const struct bt_sink *sink)
{
    const struct bt_sink_result *result = bt_sink_result(sink);
    uint64_t n_frames = 0, n_strays = 0;

    for (uint32_t i = 0; i < result->n_streams; i++)
        *(result->streams[i]->expected ? &n_frames : &n_strays) += result->streams[i]->n_frames;
    fprintf(out, "{\"device\": \"%s\", \"engine\": \"%s\", \"frames\": %lu, \"strays\": %lu, \"ignored\": %lu, \"ring_drops\": %lu, \"wakeups\": %lu, "
            "\"cpu_seconds\": %.6f, ",
            bt_sink_spec(sink)->device, bt_sink_engine(sink), n_frames, n_strays, result->n_ignored, result->n_ring_drops, result->n_looks,
            (double)result->cpu_ns * 1e-9);
    if (result->error)
        fprintf(out, "\"error\": \"%s\", ", strerror(result->error));
    fputs("\"streams\": [", out);
    for (uint32_t i = 0; i < result->n_streams; i++) {
        fputs(i ? ", " : "", out);
        bt_report_stream(out, result->streams[i]);
    }
    fprintf(out, "], \"interval_ms\": %u, \"intervals\": [", bt_sink_spec(sink)->interval_ms);
    for (uint32_t i = 0; i < result->n_intervals; i++)
        fprintf(out, "%s%u", i ? ", " : "", result->intervals[i]);
    fputs("]}", out);
}

static void bt_report_limits(FILE *out, const struct bt_run *run)
{
    bool generator = false, sink = false;

    for (uint32_t i = 0; i < run->n_workers; i++) {
        const struct bt_worker *worker = &run->workers[i];
        generator |= worker->sender && bt_sender_short(worker->sender);
        sink |= worker->sink && bt_sink_result(worker->sink)->n_ring_drops;
    }
    fprintf(out, "\"limits\": [%s%s%s]", generator ? "\"generator\"" : "", generator && sink ? ", " : "", sink ? "\"sink\"" : "");
}

static void bt_report(FILE *out, const struct bt_run *run)
{
    const char *comma = "";

    fprintf(out, "{\"schema\": \"framebridge-traffic/1\", \"interrupted\": %s, ", run->interrupted ? "true" : "false");
    bt_report_limits(out, run);
    fputs(", \"senders\": [", out);
    for (uint32_t i = 0; i < run->n_workers; i++) {
        if (!run->workers[i].sender)
            continue;
        fputs(comma, out);
        bt_report_sender(out, run, run->workers[i].sender);
        comma = ", ";
    }
    fputs("], \"sinks\": [", out);
    comma = "";
    for (uint32_t i = 0; i < run->n_workers; i++) {
        if (!run->workers[i].sink)
            continue;
        fputs(comma, out);
        bt_report_sink(out, run->workers[i].sink);
        comma = ", ";
    }
    fputs("]}\n", out);
}

/* -- verbs */

static int bt_signals(struct bt_run *run)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    run->done_fd = eventfd(0, EFD_CLOEXEC);
    return run->signal_fd < 0 || run->done_fd < 0 ? -1 : 0;
}

static int bt_complain(const struct bt_problem *problem, int status)
{
    fprintf(stderr, "traffic: %s\n", problem->text);
    return status;
}

static int bt_main_run(struct bt_run *run, char **arguments)
{
    struct bt_problem problem = {0};

    if (bt_options_parse_run(&run->options, arguments, &problem) < 0)
        return bt_complain(&problem, 2);
    if (bt_signals(run) < 0 || bt_run_open(run, &problem) < 0) {
        bt_run_close(run);
        return bt_complain(&problem, 1);
    }
    bt_run_all(run);
    bt_report(stdout, run);
    bt_run_close(run);
    return 0;
}

static double bt_clock_rate(double seconds)
{
    const uint64_t start_ns = bt_now_ns(), start = br_cycles_now();

    bt_sleep_until(start_ns + (uint64_t)(seconds * 1e9));
    const uint64_t end_ns = bt_now_ns(), end = br_cycles_now();
    return (double)(end - start) / (double)(end_ns - start_ns) * 1e9;
}

/* Spin a known number of cycles a known number of times: what the CPU accounting of the laboratory has to find again. */
static int bt_main_burn(struct bt_run *run, char **arguments)
{
    const struct bt_burn_spec *spec = &run->options.burn;
    struct bt_problem problem = {0};
    uint64_t n = 0, spun = 0;

    if (bt_options_parse_burn(&run->options, arguments, &problem) < 0)
        return bt_complain(&problem, 2);
    bt_pin(spec->cpu);
    prctl(PR_SET_TIMERSLACK, 1);
    bt_tell(run, "start\n");
    const uint64_t start = bt_now_ns();
    while (bt_now_ns() - start < (uint64_t)(spec->seconds * 1e9)) {
        const uint64_t from = br_cycles_now();
        while (br_cycles_now() - from < (uint64_t)spec->cycles)
            ;
        spun += br_cycles_now() - from;
        n++;
        bt_sleep_until(start + (uint64_t)((double)n / spec->rate * 1e9));
    }
    const double seconds = (double)(bt_now_ns() - start) * 1e-9;
    bt_tell(run, "end\n");
    printf("{\"schema\": \"framebridge-traffic/1\", \"times\": %lu, \"cycles\": %lu, \"seconds\": %.6f}\n", n, spun, seconds);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    int status = 2;

    struct bt_run *run = calloc(1, sizeof(*run));
    if (!run)
        return 1;
    if (!strcmp(verb, "run")) {
        status = bt_main_run(run, argv + 2);
    } else if (!strcmp(verb, "burn")) {
        status = bt_main_burn(run, argv + 2);
    } else if (!strcmp(verb, "clock")) {
        printf("{\"schema\": \"framebridge-traffic/1\", \"cycles_per_second\": %.0f}\n", bt_clock_rate(0.25));
        status = 0;
    } else {
        const bool asked = !strcmp(verb, "--help") || !strcmp(verb, "-h");
        fputs(bt_usage, asked ? stdout : stderr);
        status = asked ? 0 : 2;
    }
    free(run);
    return status;
}
