#!/bin/sh
# JPEGs of every sampling, order of scans and size that libjpeg's cjpeg writes, each with the pixels that its djpeg reads:
#   sh jpeg_matrix.sh OUT
# makes OUT/NAME.jpg and OUT/NAME.pnm.
set -eu
mkdir -p "$1"
cd "$1"
sizes="1x1 7x9 8x8 16x16 17x33 65x63"
samplings="1x1 2x1 2x2 1x2 4x1 4x2 1x4 4x4 3x1 1x1,2x2,2x2 1x1,2x1,1x2 2x2,1x2,2x1 2x1,1x2,1x1 2x2,2x1,2x1 1x1,2x2,1x1 2x1,1x1,2x1 3x3,1x1,1x1 1x2,1x1,1x2 grey grey2x2"
printf '0;\n1;\n2;\n' >apart.txt
printf '2;\n1;\n0;\n' >back.txt
printf '1;\n0;\n2;\n' >middle.txt
printf '0;\n1 2;\n' >two.txt
printf '1 2;\n0;\n' >first.txt
for size in $sizes; do
    # Slopes in every channel, and patches of colour so that a chroma out of place shows.
    awk -v w="${size%x*}" -v h="${size#*x}" 'BEGIN {
        printf "P3\n%d %d\n255\n", w, h
        for (y = 0; y < h; y++) for (x = 0; x < w; x++) {
            patch = (int(x / 9) + int(y / 7)) % 3
            printf "%d %d %d\n", 40 + int(150 * x / w) + 50 * (patch == 0), 200 - int(140 * y / h) - 40 * (patch == 1), 90 + int(60 * (x + y) / (w + h)) + 60 * (patch == 2)
        }
    }' >"$size.txt"
    for sampling in $samplings; do
        for scans in whole apart back middle two first progressive; do
            case $sampling,$scans in grey*,whole | grey*,progressive) ;; grey*) continue ;; esac
            case $sampling in
            grey) how=-grayscale ;;
            grey*) how="-grayscale -sample ${sampling#grey}" ;;
            *) how="-sample $sampling" ;;
            esac
            case $scans in
            whole) ;;
            progressive) how="$how -progressive" ;;
            *) how="$how -scans $scans.txt" ;;
            esac
            for more in "" "-restart 1" "-restart 1B" -optimize -arithmetic; do
                name=$size-$sampling-$scans$(echo "$more" | tr -d ' ')
                # cjpeg itself refuses some: two components whose blocks are too many for one scan.
                # shellcheck disable=SC2086
                if cjpeg -quality 92 $how $more -outfile "$name.jpg" "$size.txt" 2>/dev/null; then
                    djpeg -pnm -dct int -outfile "$name.pnm" "$name.jpg"
                else
                    rm -f "$name.jpg"
                fi
            done
        done
    done
done
