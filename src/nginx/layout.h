/*
 * Records of where a C compiler puts fields, for the build script to find in the object
 * (build_layout.rs). A record has a mark, the name and two numbers in decimal digits, so that it is
 * the same for all machines and kinds of objects.
 */

typedef struct {
    char  mark[16];
    char  name[96];
    char  first[8];
    char  second[8];
} xspace_record_t;

#define DIGIT(n, place)   '0' + (n) / (place) % 10
#define DIGITS(n)                                                                                 \
    { DIGIT(n, 10000000), DIGIT(n, 1000000), DIGIT(n, 100000), DIGIT(n, 10000),                   \
      DIGIT(n, 1000), DIGIT(n, 100), DIGIT(n, 10), DIGIT(n, 1) }

/* A field: its offset and size in bytes. */
#define FIELD(type, field)                                                                        \
    { "\001xspace field", #type "." #field,                                                       \
      DIGITS(offsetof(type, field)), DIGITS(sizeof(((type *) 0)->field)) }

/* A struct that the module makes, copies or has in an array: its size in bytes. */
#define SIZE(type)                                                                                \
    { "\001xspace size", #type, DIGITS(sizeof(type)), DIGITS(0) }

/* A bit field: the struct with all bits of the field set, and with the lowest one. */
#define BITS(type, field)                                                                         \
    const struct xspace_##type##_##field {                                                        \
        xspace_record_t  record;                                                                  \
        type             all;                                                                     \
        type             lowest;                                                                  \
    } xspace_##type##_##field = {                                                                 \
        { "\001xspace bits", #type "." #field,                                                    \
          DIGITS(offsetof(struct xspace_##type##_##field, all)),                                  \
          DIGITS(offsetof(struct xspace_##type##_##field, lowest)) },                             \
        { .field = -1 },                                                                          \
        { .field = 1 }                                                                            \
    };
