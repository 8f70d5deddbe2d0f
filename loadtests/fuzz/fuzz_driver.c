/* libFuzzer inside Python: fuzz_driver.run(arguments, target) calls target(bytes) for every input that libFuzzer makes.
 * An exception in the target is a finding. Never returns: libFuzzer ends the process. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *data, size_t size));

static PyObject *callable; /* borrowed from run's arguments, which outlive the process */

static int one_input(const uint8_t *data, size_t size) {
    PyObject *result = PyObject_CallFunction(callable, "y#", (const char *)data, (Py_ssize_t)size);
    if (!result) {
        PyErr_Print();
        abort();
    }
    Py_DECREF(result);
    return 0;
}

static PyObject *run(PyObject *module, PyObject *args) {
    PyObject *arguments;
    if (!PyArg_ParseTuple(args, "O!O:run", &PyList_Type, &arguments, &callable)) return NULL;
    int count = (int)PyList_GET_SIZE(arguments);
    char **texts = calloc((size_t)count + 1, sizeof *texts); /* libFuzzer's for good */
    if (!texts) return PyErr_NoMemory();
    for (int i = 0; i < count; i++) {
        const char *text = PyUnicode_AsUTF8(PyList_GET_ITEM(arguments, i));
        if (!text) return NULL;
        texts[i] = (char *)text;
    }
    return PyLong_FromLong(LLVMFuzzerRunDriver(&count, &texts, one_input));
}

static PyMethodDef methods[] = {{"run", run, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "fuzz_driver", .m_size = -1,
                                        .m_methods = methods};

PyMODINIT_FUNC PyInit_fuzz_driver(void) { return PyModule_Create(&definition); }
