/*
 * assembler.h - eBPF programs of a few dozen instructions, written down with labels instead of counted jumps.
 *
 * Job: emit instructions, resolve labels, load the program. Registers are numbers: r0 result, r1..r5 arguments, r6..r9 kept,
 *      r10 frame. Documentation/bpf/standardization/instruction-set.rst.
 * Thread: any. Refuses (at bt_asm_load): more than BT_ASM_MAX instructions.
 */
#ifndef BT_ASSEMBLER_H
#define BT_ASSEMBLER_H

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BT_ASM_MAX = 128, BT_ASM_LABELS = 8 };

struct bt_asm {
    struct bpf_insn code[BT_ASM_MAX];
    uint8_t target[BT_ASM_MAX]; /* label of a jump + 1 */
    uint32_t labels[BT_ASM_LABELS];
    uint32_t n;
};

static inline void bt_asm_emit(struct bt_asm *a, int code, int dst, int src, int off, int32_t imm)
{
    if (a->n < BT_ASM_MAX)
        a->code[a->n] = (struct bpf_insn){.code = (uint8_t)code, .dst_reg = (uint8_t)(dst & 15), .src_reg = (uint8_t)(src & 15),
                                          .off = (int16_t)off, .imm = imm};
    a->n++;
}

static inline void bt_asm_mov(struct bt_asm *a, int dst, int src)
{
    bt_asm_emit(a, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static inline void bt_asm_set(struct bt_asm *a, int dst, int32_t value)
{
    bt_asm_emit(a, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static inline void bt_asm_add(struct bt_asm *a, int dst, int32_t value)
{
    bt_asm_emit(a, BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value);
}

/* `size`: BPF_B, BPF_H, BPF_W or BPF_DW. */
static inline void bt_asm_load(struct bt_asm *a, int size, int dst, int src, size_t offset)
{
    bt_asm_emit(a, BPF_LDX | BPF_MEM | size, dst, src, (int)offset, 0);
}

static inline void bt_asm_store(struct bt_asm *a, int size, int dst, size_t offset, int src)
{
    bt_asm_emit(a, BPF_STX | BPF_MEM | size, dst, src, (int)offset, 0);
}

static inline void bt_asm_call(struct bt_asm *a, int32_t function)
{
    bt_asm_emit(a, BPF_JMP | BPF_CALL, 0, 0, 0, function);
}

/* `kind`: BPF_PSEUDO_MAP_FD for the map, BPF_PSEUDO_MAP_VALUE for the first byte of an array's values. */
static inline void bt_asm_map(struct bt_asm *a, int dst, int kind, int fd)
{
    bt_asm_emit(a, BPF_LD | BPF_DW | BPF_IMM, dst, kind, 0, fd);
    bt_asm_emit(a, 0, 0, 0, 0, 0);
}

static inline void bt_asm_label(struct bt_asm *a, uint32_t label)
{
    a->labels[label] = a->n;
}

/* Jump when the lower 32 bits of `reg` compare with `value` as `op` says (BPF_JEQ, BPF_JNE, BPF_JGT ...); BPF_JA: always. */
static inline void bt_asm_jump(struct bt_asm *a, int op, int reg, uint32_t value, uint32_t label)
{
    if (a->n < BT_ASM_MAX)
        a->target[a->n] = (uint8_t)(label + 1);
    bt_asm_emit(a, (op == BPF_JA ? BPF_JMP : BPF_JMP32) | op | BPF_K, reg, 0, 0, op == BPF_JA ? 0 : (int32_t)value);
}

/* End with a value. */
static inline void bt_asm_return(struct bt_asm *a, int32_t value)
{
    bt_asm_set(a, 0, value);
    bt_asm_emit(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* bpf(2), or -errno. */
static inline int bt_bpf(int command, union bpf_attr *attributes)
{
    const long result = syscall(SYS_bpf, command, attributes, sizeof(*attributes));

    return result < 0 ? -errno : (int)result;
}

/* Returns the program's descriptor or -errno. */
static inline int bt_asm_finish(struct bt_asm *a, enum bpf_prog_type type)
{
    union bpf_attr attributes;

    if (a->n > BT_ASM_MAX)
        return -E2BIG;
    for (uint32_t i = 0; i < a->n; i++)
        if (a->target[i])
            a->code[i].off = (int16_t)(a->labels[a->target[i] - 1] - i - 1);
    memset(&attributes, 0, sizeof(attributes));
    attributes.prog_type = type;
    attributes.insns = (uint64_t)(uintptr_t)a->code;
    attributes.insn_cnt = a->n;
    attributes.license = (uint64_t)(uintptr_t) "GPL";
    return bt_bpf(BPF_PROG_LOAD, &attributes);
}

#endif
