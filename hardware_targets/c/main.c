/* Reads steps from standard input and writes what the network gives, one line each.
   A line of NETWORK_INPUTS characters 0 and 1 is one step; an empty line begins a new sample.
   Spikes are written as 0 and 1; voltages as integers with spaces between. For a microcontroller, call
   network_reset and network_step from your own loop instead: they need nothing of this file. */
#include <stdio.h>

#include "network.h"

int main(void)
{
    static uint8_t input[NETWORK_INPUT_BYTES];
#if NETWORK_SPIKING
    static uint8_t output[(NETWORK_OUTPUTS + 7) / 8];
#else
    static int32_t output[NETWORK_OUTPUTS];
#endif
    unsigned long line = 1, j = 0;
    int c;

    network_reset();
    while ((c = getchar()) != EOF) {
        if (c == '0' || c == '1') {
            if (j >= NETWORK_INPUTS) {
                fprintf(stderr, "line %lu: more than %d channels\n", line, NETWORK_INPUTS);
                return 1;
            }
            if (c == '1') {
                input[j >> 3] = (uint8_t)(input[j >> 3] | (1u << (j & 7u)));
            }
            j++;
        } else if (c == '\n' && j == 0) {
            network_reset();
            line++;
        } else if (c == '\n' && j == NETWORK_INPUTS) {
            network_step(input, output);
            for (j = 0; j < NETWORK_OUTPUTS; j++) {
#if NETWORK_SPIKING
                putchar('0' + ((output[j >> 3] >> (j & 7u)) & 1));
#else
                printf(j ? " %ld" : "%ld", (long)output[j]);
#endif
            }
            putchar('\n');
            for (j = 0; j < NETWORK_INPUT_BYTES; j++) {
                input[j] = 0;
            }
            j = 0;
            line++;
        } else if (c != '\r') {
            fprintf(stderr, "line %lu: expected %d characters 0 or 1\n", line, NETWORK_INPUTS);
            return 1;
        }
    }
    return 0;
}
