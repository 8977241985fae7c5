/* frame/way.h - the two ways of a frame at a port: it came in there, or it leaves there. */
#ifndef BR_WAY_H
#define BR_WAY_H

enum br_way { BR_RX, BR_TX, BR_WAYS };

#endif
