/*
 * The names of VPP's vlib that vpp.c uses, as functions of the same types (there they are inline), for want of a package with its
 * headers. Read in 26.06. Of a buffer only the fields that are looked at.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef SHIM_VLIB_H
#define SHIM_VLIB_H

#include <stdint.h>

typedef int16_t i16;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;

enum { VLIB_FRAME_SIZE = 256 };

typedef struct vlib_main_t vlib_main_t;

typedef struct {
    i16 current_data;
    u16 current_length;
    u8 data[];
} vlib_buffer_t;

void vlib_get_buffers(vlib_main_t *vm, u32 *bi, vlib_buffer_t **b, u32 count);
void *vlib_buffer_get_current(vlib_buffer_t *b);
void vlib_buffer_free_one(vlib_main_t *vm, u32 buffer_index);

#endif
