/*
 * scan.h: a look over the bytes of a message before protobuf-c unpacks them: it recurses per level and turns
 * a message of two bytes into one of hundreds. Which fields are messages is read from the descriptors, so
 * what is counted is what would be unpacked. Pure; any thread.
 */
#ifndef PROTO_SCAN_H
#define PROTO_SCAN_H

#include <protobuf-c/protobuf-c.h>

#include "base/base.h"

/*
 * Messages of our protocols nest at most five levels. The lines of a report are not counted as fields: they
 * are the one thing that honest agents send in numbers, and each costs little more than its bytes.
 */
enum { SCAN_DEPTH_MAX = 8, SCAN_MESSAGES_MAX = 16 * 1024, SCAN_FIELDS_MAX = 64 * 1024 };

/* False for what is no message on the wire, and for one over a limit in all of its levels together. */
must_check bool scan_fits(const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t n);

#endif
