#include "coordinator/admin/admin_frame.h"

enum frame_state admin_frame_next(const uint8_t *p, size_t n, size_t max, const uint8_t **body,
				  size_t *body_n)
{
	if (n < ADMIN_FRAME_HEAD)
		return FRAME_PARTIAL;

	size_t len = get_u32(p);
	if (len > max)
		return FRAME_TOO_LARGE;
	if (n - ADMIN_FRAME_HEAD < len)
		return FRAME_PARTIAL;

	*body = p + ADMIN_FRAME_HEAD;
	*body_n = len;
	return FRAME_WHOLE;
}

void admin_frame_put(struct buf *out, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = buf_reserve(out, ADMIN_FRAME_HEAD + n);
	put_u32(p, (uint32_t)n);
	protobuf_c_message_pack(m, p + ADMIN_FRAME_HEAD);
	out->len += ADMIN_FRAME_HEAD + n;
}
