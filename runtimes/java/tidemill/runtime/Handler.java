package tidemill.runtime;

import java.io.ByteArrayOutputStream;

/** A function's handler, whatever its form: bytes in, bytes out. */
interface Handler {
    void handle(Invocation invocation, Output output) throws Exception;

    /** What a handler answers; its bytes are sent without a copy. */
    final class Output extends ByteArrayOutputStream {
        Output() {
            super(1024);
        }

        byte[] buffer() {
            return buf;
        }
    }
}
