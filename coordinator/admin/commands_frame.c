#include "coordinator/admin/commands_frame.h"

enum frame_state commands_frame_next(const uint8_t *p, size_t n, size_t max, const uint8_t **body,
				     size_t *body_n)
{
	if (n < COMMANDS_FRAME_HEAD)
		return FRAME_PARTIAL;

	size_t len = get_u32(p);
	if (len > max)
		return FRAME_TOO_LARGE;
	if (n - COMMANDS_FRAME_HEAD < len)
		return FRAME_PARTIAL;

	*body = p + COMMANDS_FRAME_HEAD;
	*body_n = len;
	return FRAME_WHOLE;
}

void commands_frame_put(struct buf *out, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = buf_reserve(out, COMMANDS_FRAME_HEAD + n);
	put_u32(p, (uint32_t)n);
	protobuf_c_message_pack(m, p + COMMANDS_FRAME_HEAD);
	out->len += COMMANDS_FRAME_HEAD + n;
}
