package tidemill.runtime;

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The environment as native code and started processes see it. Java cannot set it, so a process that is started ahead of its function is given
 * an environment with room in it: one long variable and many short ones. Linux says where its text is; the pointers to it are found on the
 * stack below, and both are written over.
 */
final class NativeEnvironment {
    /** The long variable, by which a process knows that it was started ahead. */
    static final String ROOM = "TIDEMILL_ROOM";
    /** Places in /proc/self/stat, counted from behind the program's name. */
    private static final int ARGUMENTS_BEGIN = 45;
    private static final int BEGIN = 47;
    private static final int END = 48;
    /** Between the pointers and the text lies what the kernel tells programs: far less than this. */
    private static final int BELOW = 64 * 1024;

    private NativeEnvironment() {}

    /** Whether it could be replaced; otherwise it is as it was. */
    static boolean replace(Map<String, String> wanted) throws IOException {
        String[] stat = stat();
        long begin = Long.parseLong(stat[BEGIN]);
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        List<Long> places = new ArrayList<>();
        for (Map.Entry<String, String> one : wanted.entrySet()) {
            places.add(begin + text.size());
            byte[] line = (one.getKey() + "=" + one.getValue()).getBytes(StandardCharsets.UTF_8);
            text.write(line, 0, line.length);
            text.write(0);
        }
        if (begin == 0 || text.size() > Long.parseLong(stat[END]) - begin) return false;
        try (RandomAccessFile memory = new RandomAccessFile("/proc/self/mem", "rw")) {
            long pointers = pointers(memory, Long.parseLong(stat[ARGUMENTS_BEGIN]), begin, wanted.size());
            if (pointers == 0) return false;
            memory.seek(begin);
            memory.write(text.toByteArray());
            ByteBuffer array = ByteBuffer.allocate(8 * (places.size() + 1)).order(ByteOrder.nativeOrder());
            for (long place : places) array.putLong(place);
            memory.seek(pointers);
            memory.write(array.putLong(0).array());
        }
        return true;
    }

    private static String[] stat() throws IOException {
        byte[] text = new byte[4096];
        try (FileInputStream file = new FileInputStream("/proc/self/stat")) {
            String stat = new String(text, 0, file.read(text), StandardCharsets.ISO_8859_1);
            return stat.substring(stat.lastIndexOf(')') + 2).trim().split(" ");
        }
    }

    /** Where the pointers to the variables are, if there are at least `count`; or 0. */
    private static long pointers(RandomAccessFile memory, long arguments, long begin, int count) throws IOException {
        long from = (arguments - BELOW) & -8L;
        byte[] below = new byte[BELOW];
        memory.seek(from);
        memory.readFully(below);
        ByteBuffer longs = ByteBuffer.wrap(below).order(ByteOrder.nativeOrder());
        for (int at = 0; at + 8 * (count + 1) <= BELOW; at += 8) {
            if (longs.getLong(at) != begin) continue;
            for (int next = 1; next < count; next++) {
                if (longs.getLong(at + 8 * next) <= longs.getLong(at + 8 * (next - 1))) return 0;
            }
            return from + at;
        }
        return 0;
    }
}
