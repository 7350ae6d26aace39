/* SPDX-License-Identifier: BSD-2-Clause */
/* What .ci/matrix compiles for musl: loads the library that its argument names, as a plugin's host does, with threads that end
   inside sections, and closes it, again and again. */
#include <flowq.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define N_THREADS 4
#define N_ROUNDS  50
#define N_VMS     100

static int (*create)(const struct flowq_vm_config *cfg, struct flowq_vm **out);
static void (*destroy)(struct flowq_vm *vm);
static int (*enter)(void);
static int (*synchronize)(void);

static int find(void *library)
{
    *(void **)&create = dlsym(library, "flowq_vm_create");
    *(void **)&destroy = dlsym(library, "flowq_vm_destroy");
    *(void **)&enter = dlsym(library, "flowq_enter");
    *(void **)&synchronize = dlsym(library, "flowq_synchronize");
    return create && destroy && enter && synchronize;
}

/* NULL: something failed. */
static void *work(void *arg)
{
    const struct flowq_vm_config cfg = {.size = sizeof(cfg)};
    struct flowq_vm *vm;
    for (int i = 0; i < N_VMS; i++) {
        if (create(&cfg, &vm) != 0)
            return NULL;
        destroy(vm);
    }
    return enter() == 0 ? arg : NULL;
}

static int work_in_threads(void)
{
    pthread_t id[N_THREADS];
    void *done;
    int n = 0;
    for (int i = 0; i < N_THREADS; i++)
        if (pthread_create(&id[i], NULL, work, &n) != 0)
            return 0;
    for (int i = 0; i < N_THREADS; i++)
        n += pthread_join(id[i], &done) == 0 && done;
    return n == N_THREADS && synchronize() == 0;
}

int main(int argc, char **argv)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
        if (!library || !find(library)) {
            fprintf(stderr, "loaded: %s\n", argc == 2 ? dlerror() : "one library is to be named");
            return 1;
        }
        if (!work_in_threads() || dlclose(library) != 0) {
            fprintf(stderr, "loaded: round %d failed\n", round);
            return 1;
        }
    }
    return 0;
}
