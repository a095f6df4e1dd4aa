package tidemill.runtime;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** The Runtime API, version 2018-06-01, over one kept connection. Only what its server sends is understood. */
final class RuntimeApi {
    private static final String PREFIX = "/2018-06-01/runtime/";

    private final String address;
    private final InputStream in;
    private final OutputStream out;
    private byte[] buffer = new byte[16384];
    private int from;
    private int to;

    /** @param address {@code host:port} */
    RuntimeApi(String address) throws IOException {
        this.address = address;
        int colon = address.lastIndexOf(':');
        Socket socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
        socket.setTcpNoDelay(true);
        in = socket.getInputStream();
        out = socket.getOutputStream();
    }

    /** An answer: its status, its headers by their names in lower case, its body. */
    static final class Reply {
        int status;
        final Map<String, String> headers = new HashMap<>();
        byte[] body;

        String header(String name) {
            return headers.get(name);
        }
    }

    /** What this process is to be: waits until the platform has a function for it. */
    byte[] start() throws IOException {
        return get("tidemill/start").body;
    }

    Reply next() throws IOException {
        return get("invocation/next");
    }

    void respond(String id, byte[] body, int length) throws IOException {
        post("invocation/" + id + "/response", null, body, length);
    }

    /** @param last whether this process ends after it */
    void fail(String id, String kind, byte[] body, boolean last) throws IOException {
        post("invocation/" + id + "/error", last ? kind + "\r\nTidemill-Runtime-Ends: yes" : kind, body, body.length);
    }

    void failInit(String kind, byte[] body) throws IOException {
        post("init/error", kind, body, body.length);
    }

    private Reply get(String path) throws IOException {
        send("GET " + PREFIX + path + " HTTP/1.1\r\nHost: " + address + "\r\n\r\n", null, 0);
        Reply reply = receive();
        if (reply.status != 200) throw new IOException("The Runtime API answered " + reply.status + " to " + path);
        return reply;
    }

    private void post(String path, String kind, byte[] body, int length) throws IOException {
        String type = kind == null ? "" : "Lambda-Runtime-Function-Error-Type: " + kind + "\r\n";
        send("POST " + PREFIX + path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/json\r\n" + type
            + "Content-Length: " + length + "\r\n\r\n", body, length);
        // What is too large or too late is the platform's to tell; here the next invocation follows.
        receive();
    }

    private void send(String head, byte[] body, int length) throws IOException {
        byte[] start = head.getBytes(StandardCharsets.ISO_8859_1);
        if (length == 0 || length > 65536) {
            out.write(start);
            if (length > 0) out.write(body, 0, length);
            return;
        }
        byte[] whole = new byte[start.length + length];
        System.arraycopy(start, 0, whole, 0, start.length);
        System.arraycopy(body, 0, whole, start.length, length);
        out.write(whole);
    }

    private Reply receive() throws IOException {
        Reply reply = new Reply();
        reply.status = Integer.parseInt(line().substring(9, 12));
        for (String line = line(); !line.isEmpty(); line = line()) {
            int colon = line.indexOf(':');
            reply.headers.put(line.substring(0, colon).toLowerCase(), line.substring(colon + 1).trim());
        }
        String length = reply.headers.get("content-length");
        reply.body = bytes(length == null ? 0 : Integer.parseInt(length));
        return reply;
    }

    /** Header values are UTF-8: a client context may hold any letter. */
    private String line() throws IOException {
        int at = from;
        while (true) {
            while (at < to && buffer[at] != '\n') at++;
            if (at < to) break;
            int begun = at - from;
            more();
            at = from + begun;
        }
        String line = new String(buffer, from, Math.max(at - from - 1, 0), StandardCharsets.UTF_8);
        from = at + 1;
        return line;
    }

    private byte[] bytes(int count) throws IOException {
        byte[] body = new byte[count];
        int have = Math.min(count, to - from);
        System.arraycopy(buffer, from, body, 0, have);
        from += have;
        while (have < count) {
            int read = in.read(body, have, count - have);
            if (read < 0) throw new EOFException();
            have += read;
        }
        return body;
    }

    private void more() throws IOException {
        if (from > 0) {
            System.arraycopy(buffer, from, buffer, 0, to - from);
            to -= from;
            from = 0;
        }
        if (to == buffer.length) buffer = java.util.Arrays.copyOf(buffer, 2 * to);
        int read = in.read(buffer, to, buffer.length - to);
        if (read < 0) throw new EOFException();
        to += read;
    }
}
