/* A plugin of qemu-user: how often a guest's program runs each of its blocks of instructions, in sections.
 *
 *   gcc -shared -fPIC -O2 -o libcount.so count.c
 *   qemu-aarch64 -plugin ./libcount.so,out=PREFIX ...
 *
 * The guest ends a section by closing the file descriptor 1000000 + N, which it cannot have: what was counted
 * since the last one goes to PREFIX.N, as records of count (u64), length (u32) and the instructions (u32 each).
 * Prototypes are those of the plugin interface's version 1 (qemu 6 to 8): Debian ships the interface without its header.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    int system_emulation;
    union { struct { int smp_vcpus, max_vcpus; } system; };
} qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*called)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, called);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { ADD = 0, CLOSE = 57, MARKS = 1000000, MOST_MARKS = 1000, SLOTS = 1 << 20 };

typedef struct block {
    uint64_t count, address;
    uint32_t length, *code;
    struct block *next;
} block;

static block *blocks[SLOTS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *prefix = "count";

static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    uint64_t address = qemu_plugin_tb_vaddr(tb);
    size_t length = qemu_plugin_tb_n_insns(tb);
    size_t slot = ((address >> 2) * 0x9E3779B97F4A7C15ull) >> 44;
    pthread_mutex_lock(&mutex);
    block *found = blocks[slot];
    while (found && !(found->address == address && found->length == length)) found = found->next;
    if (!found) {
        found = calloc(1, sizeof *found);
        found->address = address, found->length = length, found->code = malloc(4 * length);
        for (size_t i = 0; i < length; i++)
            memcpy(&found->code[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), 4);
        found->next = blocks[slot], blocks[slot] = found;
    }
    pthread_mutex_unlock(&mutex);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &found->count, 1);
}

static void on_call(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t fd, uint64_t b, uint64_t c, uint64_t d,
                    uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    if (number != CLOSE || fd < MARKS || fd >= MARKS + MOST_MARKS) return;
    char name[4096];
    snprintf(name, sizeof name, "%s.%d", prefix, (int)(fd - MARKS));
    pthread_mutex_lock(&mutex);
    FILE *file = fopen(name, "wb");
    for (size_t slot = 0; file && slot < SLOTS; slot++)
        for (block *one = blocks[slot]; one; one = one->next)
            if (one->count) {
                fwrite(&one->count, 8, 1, file), fwrite(&one->length, 4, 1, file);
                fwrite(one->code, 4, one->length, file);
                one->count = 0;
            }
    if (!file || fclose(file)) perror(name), exit(1);
    pthread_mutex_unlock(&mutex);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count,
                                                               char **options) {
    for (int i = 0; i < count; i++)
        if (!strncmp(options[i], "out=", 4)) prefix = strdup(options[i] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, on_call);
    return 0;
}
